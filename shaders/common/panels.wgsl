// The order of gemm/pack_operand as operand B of common/product32: texel (panel, k, t), t < 8, at (panel·4·depth + k)·8 + t
// holds columns 32·panel + 4·t + 0..3 of one k.
const B_STEP: u32 = 8u;
const B_NEXT: u32 = 32u;
fn b_texel(k: u32) -> u32 {
    return k * 32u;
}
