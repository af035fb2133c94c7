//! Every shader variant that the launchers can record, without a device: it parses, it is valid with the features
//! that its adapters have, it agrees with its launcher about bindings and immediates, it stays within the limits
//! that every adapter has, and it can be said in SPIR-V, MSL and HLSL.

mod launchers;

use contraleak::gpu::shader::{Defines, entry_shaders, preprocess};
use contraleak::gpu::{Binding, Dispatch};
use naga::back::{hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, ImageClass, Module, ResourceBinding, StorageAccess, TypeInner};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a pipeline is made of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Permutation {
    shader: &'static str,
    defines: Defines,
    bindings: Vec<Kind>,
    immediate_words: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Read,
    Write,
    Texture,
}

impl Permutation {
    fn of(dispatch: &Dispatch) -> Permutation {
        let kind = |binding: &Binding| match binding {
            Binding::Read(_) | Binding::Operand(_) => Kind::Read,
            Binding::Write(_) => Kind::Write,
            Binding::Texture(_) => Kind::Texture,
        };
        Permutation {
            shader: dispatch.shader,
            defines: dispatch.defines.clone(),
            bindings: dispatch.bindings.iter().map(kind).collect(),
            immediate_words: dispatch.immediates.len(),
        }
    }

    /// For adapters with cooperative matrices alone.
    fn cooperative(&self) -> bool {
        self.defines.iter().any(|(name, value)| (name, value) == ("COOPERATIVE", "1"))
    }

    fn text(&self) -> String {
        preprocess(self.shader, &self.defines).unwrap_or_else(|e| panic!("{e}"))
    }

    fn module(&self) -> Module {
        let text = self.text();
        naga::front::wgsl::parse_str(&text)
            .unwrap_or_else(|e| panic!("{self:?}: {}", e.emit_to_string_with_path(&text, self.shader)))
    }
}

/// Every permutation, and whether adapters without subgroups and 64-bit integers get it too.
fn permutations() -> BTreeMap<Permutation, bool> {
    let mut all = BTreeMap::new();
    for (_, facts) in launchers::adapters() {
        for recording in [launchers::record_all(&facts), launchers::record_lars(&facts)] {
            for dispatch in recording.dispatches() {
                *all.entry(Permutation::of(dispatch)).or_insert(false) |= !facts.texture_kernels();
            }
        }
    }
    all
}

/// The files of `shaders/` with their names as imports say them.
fn files() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("shaders");
    let mut folders = vec![root.clone()];
    let mut all = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            assert_eq!(path.extension().and_then(|e| e.to_str()), Some("wgsl"), "{}", path.display());
            let name = path.with_extension("");
            let name =
                name.strip_prefix(&root).expect("below the root").to_str().expect("UTF-8").replace('\\', "/");
            let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            all.insert(name, text);
        }
    }
    all
}

/// `name` and every file that it imports, directly or not.
fn with_imports(files: &BTreeMap<String, String>, name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    let mut waiting = vec![name.to_string()];
    while let Some(name) = waiting.pop() {
        let text = files.get(&name).unwrap_or_else(|| panic!("there is no shaders/{name}.wgsl"));
        waiting.extend(text.lines().filter_map(|line| line.strip_prefix("#import ")).map(str::to_string));
        all.insert(name);
    }
    all
}

fn words(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect()
}

/// What `#operand`, `#result` and `#update` lines of a text depend on. A binding is a number, a constant of `set`, or one more.
fn array_constants(text: &str, set: &BTreeMap<&str, &str>) -> BTreeSet<String> {
    let value = |term: &str| set.get(term).copied().unwrap_or(term).parse::<usize>().ok();
    let mut all = BTreeSet::new();
    for line in text.lines() {
        if let Some((binding, _)) = line.strip_prefix("#operand ").and_then(|rest| rest.split_once(' ')) {
            let binding: Option<usize> = binding.split('+').map(value).sum();
            all.insert("WORDS".to_string());
            all.extend(binding.map(|binding| format!("TEXTURE_{binding}")));
        }
        if line.starts_with("#result ") || line.starts_with("#update ") {
            all.insert("WORDS".to_string());
        }
    }
    all
}

#[test]
fn files_have_a_form() {
    let files = files();
    let entries = entry_shaders();
    let mut imported = BTreeSet::new();
    for (name, text) in &files {
        assert!(text.starts_with("// "), "shaders/{name}.wgsl: the first line is not a comment");
        assert!(text.ends_with('\n'), "shaders/{name}.wgsl: no line end at the end");
        assert!(!text.contains("atomic<f32>"), "shaders/{name}.wgsl: sums of atomics have no order");
        assert_eq!(
            text.matches("@compute").count(),
            usize::from(entries.contains(name)),
            "shaders/{name}.wgsl"
        );
        imported.extend(with_imports(&files, name).into_iter().filter(|other| other != name));
    }
    for name in &entries {
        assert!(files.contains_key(name), "shader {name} is in the program and not in shaders/");
    }
    for name in files.keys() {
        let used = entries.contains(name) || imported.contains(name);
        assert!(used, "shaders/{name}.wgsl: neither an entry point nor imported");
    }
}

/// `common/divide` divides integers through f32, which only adapters that run texture kernels are known to round correctly.
#[test]
fn other_adapters_divide_integers_as_integers() {
    let files = files();
    let mut seen = 0;
    for (permutation, portable) in permutations() {
        if portable && with_imports(&files, permutation.shader).contains("common/divide") {
            assert!(permutation.defines.iter().any(|define| define == ("WIDE", "1")), "{permutation:?}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no portable shader imports common/divide");
}

#[test]
fn launchers_reach_every_shader_and_every_condition() {
    let (files, permutations) = (files(), permutations());
    let launched: BTreeSet<&str> = permutations.keys().map(|p| p.shader).collect();
    let entries = entry_shaders();
    let entries: BTreeSet<&str> = entries.iter().map(String::as_str).collect();
    assert_eq!(launched, entries, "launched by some recording, and in shaders/");

    let mut problems = BTreeSet::new();
    // (file, name in a condition) with the values that it takes.
    let mut conditions: BTreeMap<(&str, &str), BTreeSet<bool>> = BTreeMap::new();
    for permutation in permutations.keys() {
        let set: BTreeMap<&str, &str> = permutation.defines.iter().collect();
        let sources: Vec<(&String, &String)> = with_imports(&files, permutation.shader)
            .iter()
            .filter_map(|source| files.get_key_value(source))
            .collect();
        for name in set.keys() {
            let knows =
                |text: &str| words(text).contains(name) || array_constants(text, &set).contains(*name);
            if !sources.iter().any(|(_, text)| knows(text)) {
                problems.insert(format!("{}: no file of it knows the constant {name}", permutation.shader));
            }
        }
        for (source, text) in sources {
            for line in text.lines().filter_map(|line| line.trim().strip_prefix("#if ")) {
                for name in words(line).into_iter().filter(|w| w.starts_with(char::is_alphabetic)) {
                    let on = set.get(name).is_some_and(|value| *value != "0");
                    conditions.entry((source, name)).or_default().insert(on);
                }
            }
        }
    }
    for ((file, name), values) in conditions.iter().filter(|(_, values)| values.len() < 2) {
        problems.insert(format!("{file}: #if {name} is always {values:?}; a side of it is for nobody"));
    }
    // Two pipelines for one text would be compiled twice.
    let mut texts: BTreeMap<(String, &Vec<Kind>, usize), &Permutation> = BTreeMap::new();
    for permutation in permutations.keys() {
        let key = (permutation.text(), &permutation.bindings, permutation.immediate_words);
        if let Some(other) = texts.insert(key, permutation) {
            problems.insert(format!("one text of two variants: {permutation:?} and {other:?}"));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn launchers_reach_every_tile() {
    let tiles_of = |class: &str, shader: &str| {
        let (_, facts) = launchers::adapters().into_iter().find(|(name, _)| *name == class).expect("known");
        let recording = launchers::record_all(&facts);
        let side = |d: &Dispatch, name: &str| -> u32 {
            d.defines.iter().find(|(n, _)| *n == name).expect("a tile").1.parse().expect("a number")
        };
        let of_shader = recording.dispatches().filter(|d| d.shader == shader);
        of_shader.map(|d| (side(d, "BM"), side(d, "BN"))).collect::<BTreeSet<_>>()
    };
    for shader in ["conv/conv2d", "conv/conv2d_grad_input", "conv/conv2d_grad_weight", "gemm/matmul"] {
        let all = BTreeSet::from([(32, 32), (64, 64), (128, 64), (128, 128)]);
        assert_eq!(tiles_of("discrete", shader), all, "{shader}");
        assert_eq!(tiles_of("integrated", shader), BTreeSet::from([(32, 32), (64, 64)]), "{shader}");
        for class in ["rounded operands", "cooperative matrices", "cooperative matrices, subgroups of 64"] {
            assert_eq!(tiles_of(class, shader), all, "{shader}, {class}");
        }
    }
}

#[test]
fn every_permutation_is_valid_and_translates() {
    let permutations = permutations();
    let texture_only: BTreeSet<_> = permutations.iter().filter(|(_, portable)| !**portable).collect();
    for (permutation, &portable) in &permutations {
        let module = permutation.module();
        check_interface(permutation, &module);
        let capabilities = match (permutation.cooperative(), portable) {
            (true, _) => {
                Capabilities::IMMEDIATES
                    | Capabilities::SUBGROUP
                    | Capabilities::SHADER_FLOAT16
                    | Capabilities::COOPERATIVE_MATRIX
            }
            (false, true) => Capabilities::IMMEDIATES,
            (false, false) => Capabilities::IMMEDIATES | Capabilities::SUBGROUP | Capabilities::SHADER_INT64,
        };
        let info = Validator::new(ValidationFlags::all(), capabilities)
            .validate(&module)
            .unwrap_or_else(|e| panic!("{permutation:?}: {}", e.emit_to_string(&permutation.text())));
        // As shipped, and as tests run.
        for checked in [false, true] {
            to_spirv(permutation, &module, &info, portable, checked);
            if permutation.cooperative() {
                // Metal's are of 8 x 8 and Direct3D has none.
                continue;
            }
            to_msl(permutation, &module, &info, portable, checked);
            to_hlsl(permutation, &module, &info, portable, checked);
        }
    }
    let shaders: BTreeSet<_> = permutations.keys().map(|p| p.shader).collect();
    let cooperative = permutations.keys().filter(|p| p.cooperative()).count();
    println!(
        "{} permutations of {} shaders checked, {} of them for software adapters with texture kernels only, {cooperative} for cooperative matrices",
        permutations.len(),
        shaders.len(),
        texture_only.len()
    );
    assert!(permutations.len() > shaders.len() && !texture_only.is_empty());
    // In four tiles for three sizes of subgroups: the product of matrices in three layouts, conv2d with three kinds of folded
    // batch norm and without, both gradients.
    assert_eq!(cooperative, (3 + 4 + 2) * 4 * 3);
}

/// One entry point with the file's name; bindings, immediates and limits as the launcher and every adapter have them.
fn check_interface(permutation: &Permutation, module: &Module) {
    let place = permutation.shader;
    let [entry] = &module.entry_points[..] else {
        panic!("{place}: {} entry points", module.entry_points.len());
    };
    assert_eq!(Some(entry.name.as_str()), place.rsplit('/').next(), "{place}: name of the entry point");
    let invocations: u32 = entry.workgroup_size.iter().product();
    assert!((1..=256).contains(&invocations), "{permutation:?}: {invocations} invocations a workgroup");

    let text = permutation.text();
    let numbers: Vec<&str> =
        text.split("@binding(").skip(1).filter_map(|after| after.split(')').next()).collect();
    let expected: Vec<String> = (0..permutation.bindings.len()).map(|i| i.to_string()).collect();
    assert_eq!(numbers, expected, "{permutation:?}: bindings in the order of the text");

    let mut layouter = naga::proc::Layouter::default();
    layouter.update(module.to_ctx()).unwrap_or_else(|e| panic!("{permutation:?}: {e}"));
    let (mut bindings, mut shared, mut immediates) = (BTreeMap::new(), 0, 0);
    for (_, global) in module.global_variables.iter() {
        let size = layouter[global.ty].size;
        match global.space {
            AddressSpace::Storage { access } => {
                let kind = if access.contains(StorageAccess::STORE) { Kind::Write } else { Kind::Read };
                bindings.insert(binding(permutation, &global.binding), kind);
            }
            AddressSpace::Handle => {
                let TypeInner::Image { class: ImageClass::Storage { format, access }, .. } =
                    module.types[global.ty].inner
                else {
                    panic!("{permutation:?}: {:?} is no storage texture", global.name);
                };
                assert_eq!(
                    (format, access),
                    (naga::StorageFormat::Rgba32Float, StorageAccess::LOAD),
                    "{place}"
                );
                bindings.insert(binding(permutation, &global.binding), Kind::Texture);
            }
            AddressSpace::WorkGroup => shared += size,
            AddressSpace::Immediate => immediates += size,
            AddressSpace::Private => {}
            other => panic!("{permutation:?}: {:?} in {other:?}", global.name),
        }
    }
    let bindings: Vec<Kind> = bindings.into_values().collect();
    assert_eq!(bindings, permutation.bindings, "{permutation:?}: bindings of the shader and of its launcher");
    let buffers = bindings.iter().filter(|kind| **kind != Kind::Texture).count();
    assert!(buffers <= 8, "{permutation:?}: {buffers} storage buffers");
    let room = if permutation.cooperative() { 32_768 } else { 16_384 };
    assert!(shared <= room, "{permutation:?}: {shared} bytes of workgroup memory");
    assert_eq!(immediates as usize, 4 * permutation.immediate_words, "{permutation:?}: bytes of immediates");
    assert!(immediates <= 128, "{permutation:?}: {immediates} bytes of immediates");
    for (_, ty) in module.types.iter() {
        let float = matches!(ty.inner, TypeInner::Atomic(scalar) if scalar.kind == naga::ScalarKind::Float);
        assert!(!float, "{permutation:?}: an atomic float, whose sums have no order");
    }
}

fn binding(permutation: &Permutation, binding: &Option<ResourceBinding>) -> u32 {
    match binding {
        Some(ResourceBinding { group: 0, binding }) => *binding,
        other => panic!("{permutation:?}: {other:?} is not in group 0"),
    }
}

fn policies(checked: bool) -> BoundsCheckPolicies {
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    BoundsCheckPolicies { index: policy, buffer: policy, image_load: policy, binding_array: policy }
}

fn to_spirv(permutation: &Permutation, module: &Module, info: &ModuleInfo, portable: bool, checked: bool) {
    let mut capabilities = vec![spv::Capability::Shader, spv::Capability::ImageQuery];
    if permutation.cooperative() {
        capabilities.extend([
            spv::Capability::Float16,
            spv::Capability::GroupNonUniform,
            spv::Capability::CooperativeMatrixKHR,
            spv::Capability::VulkanMemoryModel,
        ]);
    }
    if !portable {
        capabilities.extend([
            spv::Capability::Int64,
            // What Vulkan drivers must have for wgpu's feature SUBGROUP.
            spv::Capability::GroupNonUniform,
            spv::Capability::GroupNonUniformVote,
            spv::Capability::GroupNonUniformArithmetic,
            spv::Capability::GroupNonUniformBallot,
            spv::Capability::GroupNonUniformShuffle,
            spv::Capability::GroupNonUniformShuffleRelative,
            spv::Capability::GroupNonUniformQuad,
        ]);
    }
    let options = spv::Options {
        // Vulkan 1.1, the first with subgroups.
        lang_version: (1, 3),
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: policies(checked),
        force_loop_bounding: checked,
        ..spv::Options::default()
    };
    let pipeline = spv::PipelineOptions {
        shader_stage: naga::ShaderStage::Compute,
        entry_point: module.entry_points[0].name.clone(),
    };
    let words = spv::write_vec(module, info, &options, Some(&pipeline))
        .unwrap_or_else(|e| panic!("{permutation:?} in SPIR-V: {e}"));
    assert_eq!(words[0], 0x0723_0203, "{permutation:?}: magic number of SPIR-V");
}

fn to_msl(permutation: &Permutation, module: &Module, info: &ModuleInfo, portable: bool, checked: bool) {
    let mut resources = msl::EntryPointResources {
        immediates_buffer: Some(30),
        sizes_buffer: Some(29),
        ..msl::EntryPointResources::default()
    };
    for (i, kind) in permutation.bindings.iter().enumerate() {
        let slot = i as u8;
        let target = match kind {
            Kind::Texture => msl::BindTarget { texture: Some(slot), ..msl::BindTarget::default() },
            _ => msl::BindTarget {
                buffer: Some(slot),
                mutable: *kind == Kind::Write,
                ..msl::BindTarget::default()
            },
        };
        resources.resources.insert(ResourceBinding { group: 0, binding: i as u32 }, target);
    }
    let entry = module.entry_points[0].name.clone();
    let options = msl::Options {
        // macOS 10.13 for what every GPU runs; 64-bit integers and subgroups came later.
        lang_version: if portable { (2, 0) } else { (2, 4) },
        per_entry_point_map: [(entry.clone(), resources)].into(),
        fake_missing_bindings: false,
        bounds_check_policies: policies(checked),
        force_loop_bounding: checked,
        ..msl::Options::default()
    };
    let pipeline = msl::PipelineOptions {
        entry_point: Some((naga::ShaderStage::Compute, entry)),
        ..msl::PipelineOptions::default()
    };
    let (text, translation) = msl::write_string(module, info, &options, &pipeline)
        .unwrap_or_else(|e| panic!("{permutation:?} in MSL: {e}"));
    for name in translation.entry_point_names {
        let name = name.unwrap_or_else(|e| panic!("{permutation:?} in MSL: {e}"));
        assert!(text.contains(&format!("kernel void {name}(")), "{permutation:?} in MSL: {text}");
    }
}

fn to_hlsl(permutation: &Permutation, module: &Module, info: &ModuleInfo, portable: bool, checked: bool) {
    let target = |space, register| hlsl::BindTarget { space, register, ..hlsl::BindTarget::default() };
    let options = hlsl::Options {
        // 5.1 is what Windows compiles without a further library; subgroups and 64-bit integers need 6.0.
        shader_model: if portable { hlsl::ShaderModel::V5_1 } else { hlsl::ShaderModel::V6_0 },
        binding_map: (0..permutation.bindings.len() as u32)
            .map(|i| (ResourceBinding { group: 0, binding: i }, target(0, i)))
            .collect(),
        fake_missing_bindings: false,
        special_constants_binding: Some(target(1, 0)),
        immediates_target: Some(target(2, 0)),
        restrict_indexing: checked,
        force_loop_bounding: checked,
        ..hlsl::Options::default()
    };
    let pipeline = hlsl::PipelineOptions {
        entry_point: Some((naga::ShaderStage::Compute, module.entry_points[0].name.clone())),
    };
    let mut text = String::new();
    let reflection = hlsl::Writer::new(&mut text, &options, &pipeline)
        .write(module, info, None)
        .unwrap_or_else(|e| panic!("{permutation:?} in HLSL: {e}"));
    for name in reflection.entry_point_names {
        let name = name.unwrap_or_else(|e| panic!("{permutation:?} in HLSL: {e}"));
        assert!(text.contains(&format!("void {name}(")), "{permutation:?} in HLSL: {text}");
    }
}
