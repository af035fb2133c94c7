//! Convolutions in three directions on a device: operands in file layout in, results in file layout out, with every
//! padding lane checked; and the bounds of f32 sums.

use super::gpu::{Case, Done, Draw, gpu};
use contraleak::gpu::{Dispatch, Facts, Gpu, GpuOptions};
use contraleak::kernels::conv::depthwise::{
    self, DepthwiseShape, DepthwiseWeights, depthwise_conv2d_grad_input, depthwise_conv2d_grad_weight,
};
use contraleak::kernels::conv::{self, Conv2d, Weights};
use contraleak::kernels::{Shape, Tensor};
use contraleak::reference::conv as twin;
use std::sync::OnceLock;

/// The checked device and one whose shaders have no bounds checks, as outside tests.
pub fn devices() -> [&'static Gpu; 2] {
    static UNCHECKED: OnceLock<Gpu> = OnceLock::new();
    let unchecked =
        UNCHECKED.get_or_init(|| Gpu::open(&GpuOptions::default()).unwrap_or_else(|e| panic!("{e}")));
    [gpu(), unchecked]
}

/// How weights lie in memory, which also says which kernels run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Dense,
    Depthwise,
}

/// A convolution and its operands in file layout.
pub struct Operands {
    pub conv: Conv2d,
    pub kind: Kind,
    pub x: Vec<f64>,
    pub w: Vec<f64>,
    pub dy: Vec<f64>,
}

/// Results in file layout; those of directions that did not run are empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results {
    pub y: Vec<f64>,
    pub dx: Vec<f64>,
    pub dw: Vec<f64>,
}

/// Which directions run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    Forward,
    GradInput,
    GradWeight,
}

pub const EVERY_DIRECTION: [Direction; 3] = [Direction::Forward, Direction::GradInput, Direction::GradWeight];

impl Operands {
    /// Uniform values in [-1, 1), exact in f32.
    pub fn random(conv: Conv2d, kind: Kind, seed: u64) -> Operands {
        let mut draw = Draw(seed);
        let mut values = |count: usize| (0..count).map(|_| draw.unit()).collect::<Vec<f64>>();
        let weights = match kind {
            Kind::Dense => conv.weight().elements(),
            Kind::Depthwise => conv.input.c * conv.taps(),
        };
        let (x, w, dy) = (values(conv.input.elements()), values(weights), values(conv.output.elements()));
        Operands { conv, kind, x, w, dy }
    }

    pub fn twin_shape(&self) -> twin::ConvShape {
        let Conv2d { input, output, kernel, stride, padding } = self.conv;
        twin::ConvShape {
            batch: input.n,
            in_channels: input.c,
            height: input.h,
            width: input.w,
            out_channels: output.c,
            kernel,
            stride,
            padding,
            groups: if self.kind == Kind::Dense { 1 } else { input.c },
        }
    }

    fn depthwise_shape(&self) -> DepthwiseShape {
        DepthwiseShape { channels: self.conv.input.c, kernel: self.conv.kernel }
    }

    fn pack_weights(&self, values: &[f64]) -> Vec<f32> {
        let single: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        match self.kind {
            Kind::Dense => self.conv.weight().pack(&single),
            Kind::Depthwise => self.depthwise_shape().pack(&single),
        }
    }

    fn unpack_weights(&self, packed: &[f32]) -> Vec<f64> {
        let single = match self.kind {
            Kind::Dense => self.conv.weight().unpack(packed),
            Kind::Depthwise => self.depthwise_shape().unpack(packed),
        };
        single.into_iter().map(f64::from).collect()
    }

    /// Runs `directions` with the kernels that `facts` ask for, and shows `inspect` the dispatches.
    pub fn run(
        &self,
        gpu: &Gpu,
        facts: &Facts,
        directions: &[Direction],
        mut inspect: impl FnMut(&Dispatch),
    ) -> Results {
        let conv = &self.conv;
        let mut case = Case::with_facts(gpu, facts);
        let packed = self.pack_weights(&self.w);
        // Weights travel as words: their packed form is not that of an activation.
        let words = Shape::matrix(packed.len() / 4, 4);
        let w = case.words("w", words, &packed);
        // All directions read the same memory: what one keeps of it, another may find.
        let x = case.input("x", conv.input, &self.x);
        let dy = case.input("dy", conv.output, &self.dy);
        let mut outputs: Vec<(Direction, Tensor)> = Vec::new();
        for &direction in directions {
            let shape = match direction {
                Direction::Forward => conv.output,
                Direction::GradInput => conv.input,
                Direction::GradWeight => words,
            };
            let out = case.output("out", shape);
            outputs.push((direction, out));
            let r = &mut case.recording;
            match self.kind {
                Kind::Dense => {
                    let weights = |t: Tensor| Weights::new(conv.weight(), t.slice);
                    match direction {
                        Direction::Forward => conv::conv2d(r, conv, x, weights(w), out),
                        Direction::GradInput => conv::conv2d_grad_input(r, conv, dy, weights(w), out),
                        Direction::GradWeight => conv::conv2d_grad_weight(r, conv, x, dy, weights(out)),
                    }
                }
                Kind::Depthwise => {
                    let weights = |t: Tensor| DepthwiseWeights::new(self.depthwise_shape(), t.slice);
                    match direction {
                        Direction::Forward => depthwise::depthwise_conv2d(r, conv, x, weights(w), out),
                        Direction::GradInput => depthwise_conv2d_grad_input(r, conv, dy, weights(w), out),
                        Direction::GradWeight => depthwise_conv2d_grad_weight(r, conv, x, dy, weights(out)),
                    }
                }
            }
        }
        case.recording.dispatches().for_each(&mut inspect);
        self.collect(&case.run(), &outputs)
    }

    fn collect(&self, done: &Done, outputs: &[(Direction, Tensor)]) -> Results {
        let mut results = Results::default();
        for &(direction, out) in outputs {
            let packed = done.packed(out);
            let (values, again) = if direction == Direction::GradWeight {
                let values = self.unpack_weights(&packed);
                let again = self.pack_weights(&values);
                (values, again)
            } else {
                let values = out.shape.unpack(&packed);
                let again = out.shape.pack(&values);
                (values.into_iter().map(f64::from).collect(), again)
            };
            for (i, (p, a)) in packed.iter().zip(&again).enumerate() {
                // A negative factor leaves −0 in padding lanes, which is as good.
                assert!(p == a, "{:?} {direction:?}: padding lane {i} holds {p}", self.conv);
            }
            match direction {
                Direction::Forward => results.y = values,
                Direction::GradInput => results.dx = values,
                Direction::GradWeight => results.dw = values,
            }
        }
        results
    }

    /// The f64 twins of the directions.
    pub fn expected(&self, directions: &[Direction]) -> Results {
        let (shape, mut results) = (self.twin_shape(), Results::default());
        for direction in directions {
            match direction {
                Direction::Forward => results.y = twin::conv2d(&self.x, &self.w, shape),
                Direction::GradInput => results.dx = twin::conv2d_grad_input(&self.dy, &self.w, shape),
                Direction::GradWeight => results.dw = twin::conv2d_grad_weight(&self.dy, &self.x, shape),
            }
        }
        results
    }

    /// The same with every operand's magnitude: what rounding errors are relative to.
    fn magnitudes(&self) -> Operands {
        let absolute = |values: &[f64]| values.iter().map(|v| v.abs()).collect();
        Operands { x: absolute(&self.x), w: absolute(&self.w), dy: absolute(&self.dy), ..*self }
    }

    /// Terms of the longest sum of a direction.
    pub fn terms(&self, direction: Direction) -> usize {
        let channels = |c: usize| if self.kind == Kind::Dense { c } else { 1 };
        match direction {
            Direction::Forward => self.conv.taps() * channels(self.conv.input.c),
            Direction::GradInput => self.conv.taps() * channels(self.conv.output.c),
            Direction::GradWeight => self.conv.output.n * self.conv.output.pixels(),
        }
    }

    /// What checks results of these operands against the twins, within the rounding of f32 sums.
    pub fn checker(&self, directions: &[Direction]) -> impl Fn(&Results, &str) + use<> {
        let check = self.checker_within(directions);
        move |results: &Results, label: &str| check(results, label, sum_bound)
    }

    /// The same within another bound of a sum of so many terms.
    pub fn checker_within(
        &self,
        directions: &[Direction],
    ) -> impl Fn(&Results, &str, fn(usize) -> f64) + use<> {
        let (expected, sizes) = (self.expected(directions), self.magnitudes().expected(directions));
        let (conv, terms) = (self.conv, EVERY_DIRECTION.map(|d| self.terms(d)));
        move |results: &Results, label: &str, sum_bound: fn(usize) -> f64| {
            for (direction, got, expected, sizes) in [
                (Direction::Forward, &results.y, &expected.y, &sizes.y),
                (Direction::GradInput, &results.dx, &expected.dx, &sizes.dx),
                (Direction::GradWeight, &results.dw, &expected.dw, &sizes.dw),
            ] {
                let label = format!("{conv:?} {direction:?} {label}");
                let bound = sum_bound(terms[direction as usize]);
                assert_within(&label, got, expected, |i| bound * sizes[i]);
            }
        }
    }

    /// ⟨conv(x), dy⟩ = ⟨x, grad_input(dy)⟩ = ⟨w, grad_weight(x, dy)⟩, within the sums' rounding.
    pub fn assert_adjoint(&self, results: &Results) {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let size = {
            let m = self.magnitudes();
            dot(&m.expected(&[Direction::Forward]).y, &m.dy)
        };
        // Every product x·w·dy occurs once in each of the three; each side errs by at most its sums' bound.
        let [y, dx, dw] = [dot(&results.y, &self.dy), dot(&self.x, &results.dx), dot(&self.w, &results.dw)];
        let bound = |direction| sum_bound(self.terms(direction)) * size;
        let of_y = bound(Direction::Forward);
        for (name, other, bound) in [
            ("⟨x, dx⟩", dx, of_y + bound(Direction::GradInput)),
            ("⟨w, dw⟩", dw, of_y + bound(Direction::GradWeight)),
        ] {
            assert!(
                (y - other).abs() <= bound,
                "{:?}: ⟨y, dy⟩ = {y}, {name} = {other}, allowed {bound:.2e}",
                self.conv
            );
        }
    }
}

/// Relative to the sum of magnitudes: a sum of `terms` products in f32, in any order and with or without fused
/// multiply–adds, rounds each product and each addition once (Higham, Accuracy and Stability, section 3.1).
pub fn sum_bound(terms: usize) -> f64 {
    (terms as f64 + 2.0) * 2f64.powi(-24)
}

/// Every element within `bound(i)` of the expected one.
pub fn assert_within(label: &str, got: &[f64], expected: &[f64], bound: impl Fn(usize) -> f64) {
    assert_eq!(got.len(), expected.len(), "{label}: numbers of elements");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!(
            (g - e).abs() <= bound(i),
            "{label}: element {i} is {g} instead of {e}, error {:.2e} > {:.2e}",
            (g - e).abs(),
            bound(i)
        );
    }
}

/// `count` convolutions with awkward sizes, few enough products for a software adapter and for the twins.
pub fn random_convs(seed: u64, count: usize, kind: Kind) -> Vec<Conv2d> {
    let mut draw = Draw(seed);
    let mut list = Vec::new();
    while list.len() < count {
        let input = Shape::new(draw.range(1, 5), draw.awkward(130), draw.range(1, 17), draw.range(1, 17));
        let channels = if kind == Kind::Dense { draw.awkward(130) } else { input.c };
        let kernel = [1, 2, 3, 5, 7][draw.range(0, 4)];
        let (stride, padding) = (draw.range(1, 3), draw.range(0, 3));
        let products = |conv: &Conv2d| match kind {
            Kind::Dense => conv.flops() / 2,
            Kind::Depthwise => conv.flops() / 2 / conv.input.c as u64,
        };
        let fits = |conv: &Conv2d| products(conv) <= 4_000_000;
        list.extend(Conv2d::new(input, channels, kernel, stride, padding).ok().filter(fits));
    }
    list
}

/// The facts of a device with each class whose dense kernels are the tiled ones.
pub fn tiled_classes(gpu: &Gpu) -> [Facts; 2] {
    use contraleak::gpu::KernelClass::{Discrete, Integrated};
    [Integrated, Discrete].map(|class| Facts { class, ..gpu.facts().clone() })
}

/// The value of a text constant of a dispatch.
pub fn define(dispatch: &Dispatch, name: &str) -> Option<u32> {
    dispatch.defines.iter().find(|(n, _)| *n == name).and_then(|(_, v)| v.parse().ok())
}
