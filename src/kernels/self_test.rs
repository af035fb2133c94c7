//! Whether products with rounded operands are right on this adapter: cooperative matrices are young in drivers, and one
//! generation of GPUs was reported to double their results. Runs before the first step that depends on them.

use super::matmul::{Layout, matmul};
use super::{Shape, Tensor};
use crate::gpu::{Facts, Gpu, Products, Program, Recording};
use crate::{Error, Result};

const LAYOUTS: [Layout; 3] = [Layout::Nn, Layout::Nt, Layout::Tn];
/// Rows, columns, depth and batch of products that take each tile of a large adapter, with tails in every dimension.
const SIZES: [[usize; 4]; 4] = [[509, 511, 37, 8], [2045, 61, 37, 8], [1021, 62, 37, 8], [31, 33, 65, 3]];

/// Operands, and the nearest numbers of f16: ties to even, steps of 2⁻²⁴ at the small end, infinity beyond 65,504.
const ROUNDED: [(f32, f32); 8] = [
    (2049.0, 2048.0),
    (2051.0, 2052.0),
    (-2050.999, -2050.0),
    (65_519.0, 65_504.0),
    (65_520.0, f32::INFINITY),
    (-1e9, f32::NEG_INFINITY),
    (5.9604645e-8, 5.9604645e-8),
    (1e-8, 0.0),
];

/// Compares products of known values with those of the f32 kernels: small whole numbers, whose sums are exact in any order,
/// in every layout and tile, and the rounding of operands. About 30 MB of read-backs.
///
/// # Errors
/// [`Error::Gpu`] names the product, the element and both values; a device that fails.
pub fn check_rounded_products(gpu: &Gpu) -> Result<()> {
    let exact = Facts { products: Products::Single, ..gpu.facts().clone() };
    for [m, n, k, batch] in SIZES {
        for layout in LAYOUTS {
            let (of_a, of_b) = match layout {
                Layout::Nn => ((m, k), (k, n)),
                Layout::Nt => ((m, k), (n, k)),
                Layout::Tn => ((k, m), (k, n)),
            };
            let operands = [of_a, of_b].map(|(rows, columns)| Shape::matrix(batch * rows, columns));
            let values = [whole_numbers(operands[0], 5), whole_numbers(operands[1], 11)];
            let run = |facts: &Facts| {
                product(gpu, facts, layout, batch, (operands, &values), Shape::matrix(batch * m, n))
            };
            same(gpu, &format!("{layout:?} of {m} x {n} x {k}"), &run(gpu.facts())?, &run(&exact)?)?;
        }
    }
    let (operands, expected): (Vec<f32>, Vec<f32>) = ROUNDED.into_iter().unzip();
    let column = Shape::matrix(operands.len(), 1);
    let values = [operands, vec![1.0]];
    let got = product(gpu, gpu.facts(), Layout::Nt, 1, ([column, Shape::matrix(1, 1)], &values), column)?;
    same(gpu, "numbers times one", &got, &expected)
}

/// Whole numbers from −8 to 8 in an order without short periods.
fn whole_numbers(shape: Shape, seed: u32) -> Vec<f32> {
    let number = |i: u32| (i.wrapping_add(seed).wrapping_mul(2_654_435_769) >> 16) % 17;
    (0..shape.elements() as u32).map(|i| number(i) as f32 - 8.0).collect()
}

fn product(
    gpu: &Gpu,
    facts: &Facts,
    layout: Layout,
    batch: usize,
    (shapes, values): ([Shape; 2], &[Vec<f32>; 2]),
    result: Shape,
) -> Result<Vec<f32>> {
    let mut recording = Recording::new(facts);
    let mut tensors = Vec::new();
    for (shape, values) in shapes.into_iter().zip(values) {
        let buffer = gpu.buffer_with("self-test operand", &shape.pack(values))?;
        tensors.push(Tensor::new(shape, recording.persistent(&buffer)));
    }
    let buffer = gpu.buffer("self-test result", result.bytes())?;
    let c = Tensor::new(result, recording.persistent(&buffer));
    matmul(&mut recording, layout, batch, tensors[0], tensors[1], c);
    Program::build(gpu, &recording)?.run(gpu)?;
    Ok(result.unpack(&gpu.read(&buffer, 0, result.texels() * 4)?))
}

fn same(gpu: &Gpu, what: &str, got: &[f32], expected: &[f32]) -> Result<()> {
    match got.iter().zip(expected).position(|(a, b)| a != b) {
        None => Ok(()),
        Some(i) => Err(Error::gpu(format!(
            "mixed precision: adapter {} with driver {} {} multiplies wrongly: element {i} of {what} is {} instead of {}; leave --precision out, or update the driver",
            gpu.description().name,
            gpu.description().driver,
            gpu.description().driver_info,
            got[i],
            expected[i]
        ))),
    }
}
