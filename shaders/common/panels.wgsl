// The order of similarity/pack_panels as operand B of common/product32: texel (panel, d, lane) at
// (panel·4·depth + d)·8 + lane holds value d of the columns 32·panel + 4·lane + 0..3.
const B_STEP: u32 = 8u;
fn b_texel(k: u32) -> u32 {
    return k * 32u;
}
