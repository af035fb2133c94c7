//! A shared device and a small harness: inputs drawn and uploaded, one recording run, outputs compared with f64 values.

use contraleak::gpu::{Buffer, Facts, Gpu, GpuOptions, KernelClass, Program, Recording, list_adapters};
use contraleak::kernels::{Shape, Tensor};
use std::io::Write;
use std::process::Command;
use std::sync::OnceLock;

/// The device that all tests of a file share, with checked shaders. A machine without any adapter fails here.
pub fn gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(|| {
        let options = GpuOptions { checked: true, ..GpuOptions::default() };
        let gpu = Gpu::open(&options).unwrap_or_else(|e| panic!("{e}"));
        if let Ok(lanes) = std::env::var(EXPECTED_SUBGROUP) {
            assert_eq!(gpu.facts().subgroup.map(|n| n.to_string()), Some(lanes), "lanes of a subgroup");
        }
        gpu
    })
}

/// The subgroup size without which `gpu()` fails, if the environment names one.
const EXPECTED_SUBGROUP: &str = "CONTRALEAK_TEST_SUBGROUP";

/// Runs `tests` of the file that calls this once more, in a process whose lavapipe has subgroups of four lanes, as it has on
/// CPUs whose vectors hold four floats. Does nothing, and says so, where there is no lavapipe.
pub fn pass_with_subgroups_of_four(tests: &[&str]) {
    if !list_adapters().iter().any(|adapter| adapter.name.contains("llvmpipe")) {
        // Not by println, which is hidden for a test that passes.
        let _ = writeln!(std::io::stderr(), "no lavapipe here: nothing of subgroups of four is tested");
        return;
    }
    let binary = std::env::current_exe().expect("a running program has a file");
    let output = Command::new(binary)
        .arg("--exact")
        .args(tests)
        .env("WGPU_ADAPTER_NAME", "llvmpipe")
        .env("LP_NATIVE_VECTOR_WIDTH", "128")
        // Mesa's cache does not tell widths apart.
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        .env(EXPECTED_SUBGROUP, "4")
        .output()
        .expect("it runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let all = text.contains(&format!("{} passed", tests.len()));
    assert!(output.status.success() && all, "{text}{}", String::from_utf8_lossy(&output.stderr));
}

/// The same with direct convolutions alone, for tests whose bounds leave no room for a ReLU that rounding decides.
pub fn exact_gpu() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    let options = GpuOptions { checked: true, exact_conv: true, ..GpuOptions::default() };
    GPU.get_or_init(|| Gpu::open(&options).unwrap_or_else(|e| panic!("{e}")))
}

/// The facts of `gpu()`, once as they are and once for each other kernel class whose variants run anywhere.
pub fn every_class(gpu: &Gpu) -> Vec<Facts> {
    let mut all = vec![gpu.facts().clone()];
    if std::env::var_os(EXPECTED_SUBGROUP).is_some() {
        // The others are tested without it.
        return all;
    }
    for class in [KernelClass::Integrated, KernelClass::Discrete] {
        if class != gpu.facts().class {
            all.push(Facts { class, ..gpu.facts().clone() });
        }
    }
    all
}

/// A small deterministic generator for test inputs (splitmix64).
pub struct Draw(pub u64);

impl Draw {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E3779B97F4A7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D049BB133111EB);
        z ^ (z >> 31)
    }
    /// Uniform in [-1, 1), exact in f32.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 40) as f64 / (1 << 23) as f64 - 1.0
    }
    /// Uniform in `low..=high`.
    pub fn range(&mut self, low: usize, high: usize) -> usize {
        low + (self.bits() % (high - low + 1) as u64) as usize
    }
    /// A size that kernels find awkward: one, a prime, a multiple of the tile, or one beside it.
    pub fn awkward(&mut self, most: usize) -> usize {
        let candidates = [1, 2, 3, 4, 5, 7, 8, 13, 16, 17, 31, 32, 33, 37, 48, 61, 64, 65, 97, 127, 128, 129];
        let fitting: Vec<_> = candidates.into_iter().filter(|&c| c <= most).collect();
        fitting[self.range(0, fitting.len() - 1)]
    }
}

/// `count` shapes with awkward sizes, each with a seed of its own.
pub fn random_shapes(seed: u64, count: usize) -> Vec<(u64, Shape)> {
    let mut draw = Draw(seed);
    (0..count)
        .map(|_| {
            let shape = Shape::new(draw.awkward(5), draw.awkward(40), draw.awkward(17), draw.awkward(17));
            (draw.bits(), shape)
        })
        .collect()
}

/// One recording with its uploaded inputs and its outputs.
pub struct Case<'a> {
    pub gpu: &'a Gpu,
    pub recording: Recording,
    outputs: Vec<(Tensor, Buffer)>,
}

impl<'a> Case<'a> {
    pub fn new(gpu: &'a Gpu) -> Case<'a> {
        Case::with_facts(gpu, gpu.facts())
    }

    /// Forces the kernel variants that `facts` ask for.
    pub fn with_facts(gpu: &'a Gpu, facts: &Facts) -> Case<'a> {
        Case { gpu, recording: Recording::new(facts), outputs: Vec::new() }
    }

    /// Uploads NCHW values, rounded to f32.
    pub fn input(&mut self, label: &str, shape: Shape, values: &[f64]) -> Tensor {
        assert_eq!(values.len(), shape.elements(), "{label} {shape}");
        let single: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        self.words(label, shape, &shape.pack(&single))
    }

    /// Uploads raw words that the kernel reads as it likes; `shape` only names the size.
    pub fn words<T: bytemuck::NoUninit>(&mut self, label: &str, shape: Shape, words: &[T]) -> Tensor {
        let buffer = self.gpu.buffer_with(label, words).unwrap_or_else(|e| panic!("{e}"));
        let slice = self.recording.persistent(&buffer);
        Tensor { shape, slice }
    }

    /// Uniform values in [-scale, scale), exact in f32, uploaded and returned in NCHW order.
    pub fn random(&mut self, label: &str, shape: Shape, seed: u64, scale: f64) -> (Tensor, Vec<f64>) {
        let mut draw = Draw(seed ^ label.bytes().fold(7, |a, b| a * 31 + u64::from(b)));
        let values: Vec<f64> =
            (0..shape.elements()).map(|_| f64::from((draw.unit() * scale) as f32)).collect();
        (self.input(label, shape, &values), values)
    }

    /// A tensor to be compared after the run. It starts as NaN, so that elements nobody writes are noticed.
    pub fn output(&mut self, label: &str, shape: Shape) -> Tensor {
        let nan = vec![f32::NAN; shape.texels() * 4];
        let buffer = self.gpu.buffer_with(label, &nan).unwrap_or_else(|e| panic!("{e}"));
        let tensor = Tensor::new(shape, self.recording.persistent(&buffer));
        self.outputs.push((tensor, buffer));
        tensor
    }

    /// Like `output` with a given content: for kernels that update in place.
    pub fn in_out(&mut self, label: &str, shape: Shape, values: &[f64]) -> Tensor {
        let single: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        let buffer = self.gpu.buffer_with(label, &shape.pack(&single)).unwrap_or_else(|e| panic!("{e}"));
        let tensor = Tensor::new(shape, self.recording.persistent(&buffer));
        self.outputs.push((tensor, buffer));
        tensor
    }

    pub fn run(self) -> Done<'a> {
        let program = Program::build(self.gpu, &self.recording).unwrap_or_else(|e| panic!("{e}"));
        program.run(self.gpu).unwrap_or_else(|e| panic!("{e}"));
        Done { gpu: self.gpu, outputs: self.outputs }
    }
}

/// A case after its run.
pub struct Done<'a> {
    gpu: &'a Gpu,
    outputs: Vec<(Tensor, Buffer)>,
}

impl Done<'_> {
    /// The packed f32 values of an output, padding lanes included.
    pub fn packed(&self, tensor: Tensor) -> Vec<f32> {
        let (_, buffer) = self
            .outputs
            .iter()
            .find(|(t, _)| *t == tensor)
            .unwrap_or_else(|| panic!("not an output of this case"));
        self.gpu.read(buffer, 0, tensor.shape.texels() * 4).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The logical values of an output in NCHW order.
    pub fn values(&self, tensor: Tensor) -> Vec<f64> {
        tensor.shape.unpack(&self.packed(tensor)).into_iter().map(f64::from).collect()
    }

    /// Every element within `bound(i)` of the expected one, absolutely, and every padding lane exactly zero.
    pub fn assert_close(&self, tensor: Tensor, expected: &[f64], bound: impl Fn(usize) -> f64) {
        let packed = self.packed(tensor);
        let got = tensor.shape.unpack(&packed);
        assert_eq!(got.len(), expected.len());
        for (i, (&g, &e)) in got.iter().zip(expected).enumerate() {
            let (error, bound) = ((f64::from(g) - e).abs(), bound(i));
            assert!(
                error <= bound,
                "element {i} of {}: got {g}, expected {e}, error {error:.3e} > {bound:.3e}",
                tensor.shape
            );
        }
        let again = tensor.shape.pack(&got);
        for (i, (p, a)) in packed.iter().zip(&again).enumerate() {
            // A negative factor leaves −0 in padding lanes, which is as good.
            assert!(p == a, "packed element {i} of {}: a padding lane holds {p}", tensor.shape);
        }
    }
}
