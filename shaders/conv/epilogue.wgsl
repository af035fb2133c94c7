// What happens to a texel of a convolution's results before it is stored: with EPILOGUE, the number of a binding, batch norm in
// evaluation as scale and shift, the residual at the next binding (if RESIDUAL), the activation. Padding lanes stay zero.
#if EPILOGUE
#import common/activation
#operand EPILOGUE folded
#if RESIDUAL
#operand EPILOGUE+1 residual
#endif
#endif

struct Affine { scale: vec4<f32>, shift: vec4<f32> }

// Scale and shift of a texel of `columns4` texels of channels, to be read once for all that is stored there.
fn affine(column4: u32, columns4: u32) -> Affine {
#if EPILOGUE
    return Affine(load_folded(column4), load_folded(columns4 + column4));
#else
    return Affine();
#endif
}

// `to`: where the texel will lie.
fn finish(v: vec4<f32>, by: Affine, to: u32) -> vec4<f32> {
#if EPILOGUE
    let scaled = fma(v, by.scale, by.shift);
#if RESIDUAL
    return activate(scaled + load_residual(to));
#else
    return activate(scaled);
#endif
#else
    return v;
#endif
}
