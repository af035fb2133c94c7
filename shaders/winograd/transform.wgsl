// The one-dimensional transforms of Winograd's F(4, 3) with the points 0, ±A, ±B and infinity; in two dimensions they are
// applied to columns, then to rows. With A = 5/8 and B = 3/2 rounding is half of what the usual points 1 and 2 leave
// (docs/kernels.md), and every constant but those of the weights is exact in f32.
const A: f32 = 0.625;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
// 1 / Π (p − q) over the other finite points q, for p = 0, ±A, ±B.
const WEIGHT_0: f32 = 1.0 / (A2 * B2);
const WEIGHT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const WEIGHT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

alias Four = array<vec4<f32>, 4>;
alias Six = array<vec4<f32>, 6>;

// Bᵀ d: six inputs.
fn input_transform(d: Six) -> Six {
    let even_a = d[4] - B2 * d[2];
    let odd_a = A * (d[3] - B2 * d[1]);
    let even_b = d[4] - A2 * d[2];
    let odd_b = B * (d[3] - A2 * d[1]);
    return Six(
        A2 * B2 * d[0] - (A2 + B2) * d[2] + d[4],
        even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b,
        A2 * B2 * d[1] - (A2 + B2) * d[3] + d[5],
    );
}

// G g: three weights.
fn weight_transform(g0: vec4<f32>, g1: vec4<f32>, g2: vec4<f32>) -> Six {
    let even_a = WEIGHT_A * (g0 + A2 * g2);
    let odd_a = WEIGHT_A * A * g1;
    let even_b = WEIGHT_B * (g0 + B2 * g2);
    let odd_b = WEIGHT_B * B * g1;
    return Six(WEIGHT_0 * g0, even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, g2);
}

// Aᵀ m: six products to four outputs.
fn output_transform(m: Six) -> Four {
    let sum_a = m[1] + m[2];
    let sum_b = m[3] + m[4];
    let odd_a = A * (m[1] - m[2]);
    let odd_b = B * (m[3] - m[4]);
    return Four(m[0] + sum_a + sum_b, odd_a + odd_b, A2 * sum_a + B2 * sum_b, A2 * odd_a + B2 * odd_b + m[5]);
}

// A y: four outputs' gradients to six products'.
fn grad_output_transform(y: Four) -> Six {
    let even_a = y[0] + A2 * y[2];
    let odd_a = A * (y[1] + A2 * y[3]);
    let even_b = y[0] + B2 * y[2];
    let odd_b = B * (y[1] + B2 * y[3]);
    return Six(y[0], even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b, y[3]);
}

// Gᵀ u: six gradients of transformed weights to three of weights.
fn grad_weight_transform(u: Six) -> array<vec4<f32>, 3> {
    let sum_a = WEIGHT_A * (u[1] + u[2]);
    let sum_b = WEIGHT_B * (u[3] + u[4]);
    return array<vec4<f32>, 3>(
        WEIGHT_0 * u[0] + sum_a + sum_b,
        WEIGHT_A * A * (u[1] - u[2]) + WEIGHT_B * B * (u[3] - u[4]),
        A2 * sum_a + B2 * sum_b + u[5],
    );
}

// B v: six gradients of a tile's transformed inputs to those of its inputs 1 to 4, with what the tiles before (its last
// input) and behind (its first) add to them.
fn grad_input_transform(before: vec4<f32>, v: Six, behind: vec4<f32>) -> Four {
    let sum_a = v[1] + v[2];
    let sum_b = v[3] + v[4];
    let difference_a = A * (v[1] - v[2]);
    let difference_b = B * (v[3] - v[4]);
    return Four(
        A2 * B2 * v[5] - (B2 * difference_a + A2 * difference_b) + before,
        -(A2 + B2) * v[0] - (B2 * sum_a + A2 * sum_b),
        difference_a + difference_b - (A2 + B2) * v[5],
        v[0] + sum_a + sum_b + A2 * B2 * behind,
    );
}
