// Sums of g and of g·(x − μ) over a share, g = norm/batch_norm_gradient. To be imported inside a function that knows `planes`, `share`, `mu`, and
// `scale` and `shift` of the normalisation; afterwards they are in `sum` and `product`. With STORED g goes to dresidual. TURN: texels in a turn of
// the loop; it divides what each share has in an image.
    var sum = vec4<f32>(0.0);
    var product = vec4<f32>(0.0);
    for (var n = share.first; n < share.end; n++) {
        let start = (n * planes.groups + share.group) * planes.pixels;
        for (var p = share.begin; p < share.stop; p += ${TURN}u * planes.lanes) {
#for t in 0..TURN
            let p${t} = start + p + ${t}u * planes.lanes;
            let d${t} = load_x(p${t}) - mu;
            let g${t} = gradient(p${t}, d${t}, scale, shift);
#if STORED
            store_dresidual(p${t}, g${t});
#endif
            sum += g${t};
            product = fma(g${t}, d${t}, product);
#end
            // Spares a turn without lanes (docs/kernels.md).
            if p + ${TURN}u * planes.lanes >= share.stop { break; }
        }
        if n + 1u >= share.end { break; }
    }
