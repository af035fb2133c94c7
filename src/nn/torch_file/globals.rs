//! The names that a pickle may mention, and what becomes of them. None is ever imported or called: a class of plain
//! data becomes a record of what it was made of, a function that rebuilds a tensor becomes a description of it.

use super::shown;
use crate::nn::element_type::ElementType;

/// A name that is on the list.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Known {
    /// `dict` and what is one in all but name.
    Dict,
    Set,
    List,
    Tuple,
    /// A class of plain data.
    Data,
    /// A class that TorchScript compiled.
    Script,
    /// A function whose first argument is all that matters here.
    First,
    /// `_rebuild_tensor`, `_rebuild_tensor_v2`.
    RebuildTensor,
    /// `_rebuild_tensor_v3`, whose element type is an argument.
    RebuildTyped,
    /// `_rebuild_from_type_v2`: another function with its arguments.
    RebuildFromType,
    OtherTensor(&'static str),
    Storage(ElementType),
    UntypedStorage,
    ElementType(ElementType),
    NumpyScalar,
    /// `_codecs.encode`: how protocol 2 writes bytes.
    Encode,
}

/// Plain data that training checkpoints are known to hold beside weights.
const DATA: [(&str, &str); 35] = [
    ("argparse", "Namespace"),
    ("types", "SimpleNamespace"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("pathlib", "Path"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("pathlib", "PurePosixPath"),
    ("pytorch_lightning.utilities.parsing", "AttributeDict"),
    ("lightning_fabric.utilities.data", "AttributeDict"),
    ("lightning.fabric.utilities.data", "AttributeDict"),
    ("omegaconf.dictconfig", "DictConfig"),
    ("omegaconf.listconfig", "ListConfig"),
    ("omegaconf.base", "ContainerMetadata"),
    ("omegaconf.base", "Metadata"),
    ("omegaconf.nodes", "AnyNode"),
    ("typing", "Any"),
    ("torch", "device"),
    ("torch", "Tensor"),
    ("torch.serialization", "_get_layout"),
    ("torch", "per_tensor_affine"),
    ("torch", "per_channel_affine"),
    ("numpy", "dtype"),
    ("datetime", "date"),
    ("datetime", "time"),
    ("datetime", "timezone"),
    ("pathlib", "PureWindowsPath"),
    ("pathlib._local", "Path"),
    ("pathlib._local", "PosixPath"),
    ("pathlib._local", "WindowsPath"),
    ("pathlib._local", "PurePosixPath"),
    ("pathlib._local", "PureWindowsPath"),
    ("uuid", "UUID"),
    ("collections", "deque"),
    ("torch.torch_version", "TorchVersion"),
];

/// PyTorch's storages, and the types of their elements as `torch.…` names them and as files do.
const STORAGES: [(&str, &str); 13] = [
    ("FloatStorage", "F32"),
    ("HalfStorage", "F16"),
    ("BFloat16Storage", "BF16"),
    ("DoubleStorage", "F64"),
    ("LongStorage", "I64"),
    ("IntStorage", "I32"),
    ("ShortStorage", "I16"),
    ("CharStorage", "I8"),
    ("ByteStorage", "U8"),
    ("BoolStorage", "BOOL"),
    ("ComplexFloatStorage", "C64"),
    ("ComplexDoubleStorage", "C128"),
    ("UntypedStorage", ""),
];
const ELEMENT_TYPES: [(&str, &str); 26] = [
    ("float32", "F32"),
    ("float", "F32"),
    ("float16", "F16"),
    ("half", "F16"),
    ("bfloat16", "BF16"),
    ("float64", "F64"),
    ("double", "F64"),
    ("int64", "I64"),
    ("long", "I64"),
    ("int32", "I32"),
    ("int", "I32"),
    ("int16", "I16"),
    ("short", "I16"),
    ("int8", "I8"),
    ("uint8", "U8"),
    ("uint16", "U16"),
    ("uint32", "U32"),
    ("uint64", "U64"),
    ("bool", "BOOL"),
    ("complex64", "C64"),
    ("complex128", "C128"),
    ("float8_e4m3fn", "F8_E4M3"),
    ("float8_e5m2", "F8_E5M2"),
    ("float8_e4m3fnuz", "F8_E4M3FNUZ"),
    ("float8_e5m2fnuz", "F8_E5M2FNUZ"),
    ("float8_e8m0fnu", "F8_E8M0"),
];

/// What `module.name` is; `None` for everything that is not on the list.
pub fn known(module: &str, name: &str) -> Option<Known> {
    let of = |table: &[(&str, &str)]| {
        let (_, file_name) = table.iter().find(|(torch_name, _)| *torch_name == name)?;
        ElementType::named(file_name)
    };
    if module == "__torch__" || module.starts_with("__torch__.") {
        return Some(Known::Script);
    }
    Some(match (module, name) {
        ("collections", "OrderedDict" | "defaultdict" | "Counter") => Known::Dict,
        ("builtins" | "__builtin__", builtin) => match builtin {
            "dict" => Known::Dict,
            "set" | "frozenset" => Known::Set,
            "list" => Known::List,
            "tuple" => Known::Tuple,
            // Names of types, as default values and annotations mention them.
            "int" | "float" | "bool" | "str" | "complex" | "bytes" | "bytearray" | "slice" | "range"
            | "xrange" => Known::Data,
            _ => return None,
        },
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Known::RebuildTensor,
        ("torch._utils", "_rebuild_tensor_v3") => Known::RebuildTyped,
        ("torch._tensor", "_rebuild_from_type_v2") => Known::RebuildFromType,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Known::First,
        ("torch.nn.parameter", "Parameter" | "Buffer") => Known::First,
        ("torch", "Size") => Known::First,
        (
            "torch.jit._pickle",
            "build_intlist"
            | "build_boollist"
            | "build_doublelist"
            | "build_tensorlist"
            | "build_tensor_from_id"
            | "restore_type_tag",
        ) => Known::First,
        ("torch._utils", "_rebuild_qtensor") => Known::OtherTensor("a quantised tensor"),
        ("torch._utils", "_rebuild_sparse_tensor") => Known::OtherTensor("a sparse tensor"),
        ("torch._utils", "_rebuild_meta_tensor_no_storage") => {
            Known::OtherTensor("a tensor without values (device meta)")
        }
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar") => Known::NumpyScalar,
        ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Known::Data,
        ("numpy", "ndarray") => Known::Data,
        // Types of numbers, as settings mention them.
        (
            "numpy",
            "bool_" | "float16" | "float32" | "float64" | "int8" | "int16" | "int32" | "int64" | "uint8"
            | "uint16" | "uint32" | "uint64",
        ) => Known::Data,
        ("_codecs", "encode") => Known::Encode,
        ("torch.storage", "UntypedStorage") | ("torch", "UntypedStorage") => Known::UntypedStorage,
        ("torch", name) if name.ends_with("Storage") => match of(&STORAGES) {
            Some(element_type) => Known::Storage(element_type),
            // Quantised: named by tensors that are not read.
            None if name.starts_with('Q') => Known::UntypedStorage,
            None => return None,
        },
        ("torch", _) if of(&ELEMENT_TYPES).is_some() => Known::ElementType(of(&ELEMENT_TYPES)?),
        _ if DATA.contains(&(module, name)) => Known::Data,
        _ => return None,
    })
}

/// Why `module.name` is refused. `pickle` tells a module that was saved whole from anything else.
pub fn refusal(module: &str, name: &str, pickle: &[u8]) -> String {
    let full = shown(&format!("{module}.{name}"));
    let mentions = |text: &[u8]| pickle.windows(text.len()).any(|window| window == text);
    if mentions(b"_parameters") && mentions(b"_modules") {
        return format!(
            "refuses {full}: this is a whole module, saved with torch.save(model), and loading it would run its \
             code; save its weights instead: torch.save(model.state_dict(), FILE)"
        );
    }
    format!(
        "refuses {full}: loading it would import and may run code, and a checkpoint of tensors, dicts and numbers \
         does not need it; where you trust the file, load it in Python and write it again with \
         torch.save(model.state_dict(), FILE)"
    )
}
