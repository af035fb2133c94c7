// conv/implicit_gemm, with the same rows, taps and parameters, for at most 16 output channels: there the 32 columns of its
// tile would be idle lanes. Here a lane is a row, has all of its columns, and weights come by broadcast.
// binding 0: source, NC4HW4 texels; 1: w, one panel (WeightShape) of COLUMNS4 texels; 2: out, NC4HW4; then those of conv/epilogue.
// One workgroup = one subgroup of LANES lanes = 8·LANES rows x 4·COLUMNS4 columns.
// Grid: x = tiles of rows, classes fastest. Roofline: arithmetic, 2 flops a multiply–add.
#import common/texel
#import common/pack64
#import conv/implicit_gemm_params
#import conv/epilogue

@compute @workgroup_size(${LANES})
fn implicit_gemm_narrow(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
                        @builtin(subgroup_invocation_id) lane: u32) {
    let place = group.x + group.y * groups.x;
    let classes = params.step * params.step;
    let tile = divide(place, classes);
    let class_ = place - tile * classes;
    let first_row = tile * ${8 * LANES}u;
#import conv/implicit_gemm_rows
#for m in 0..8
#for o in 0..COLUMNS4
    var c${m}_${o} = vec4<f32>(0.0);
#end
#end
    for (var th = 0u; th < lines.taps; th++) {
        for (var tw = 0u; tw < columns.taps; tw++) {
            let dy = i32(th) * params.dir;
            let dx = i32(tw) * params.dir;
#for m in 0..8
            let inside${m} = u32(y${m} + dy) < params.height && u32(x${m} + dx) < params.width;
            let i${m} = select(NOWHERE, source${m} + u32(y${m} + dy) * params.width + u32(x${m} + dx), inside${m});
            let next${m} = select(0u, plane, inside${m});
#end
            let tap = (lines.tap + th * params.step) * params.kernel + columns.tap + tw * params.step;
            let j = tap * params.c4 * ${4 * COLUMNS4}u + lane;
            for (var c = 0u; c < params.c4; c++) {
#for q in 0..(4 * COLUMNS4 + LANES - 1) / LANES
                let b${q} = textureLoad(w, at(j + c * ${4 * COLUMNS4}u + ${q * LANES}u));
#end
#for m in 0..8
                let a${m} = textureLoad(source, at(i${m} + c * next${m}));
#end
#for o in 0..COLUMNS4
#for k in 0..4
                let w${o}_${k} = subgroupBroadcast(b${(k * COLUMNS4 + o) / LANES}, ${(k * COLUMNS4 + o) % LANES}u);
#end
#for m in 0..8
                c${m}_${o} = (((c${m}_${o} + a${m}.x * w${o}_0) + a${m}.y * w${o}_1) + a${m}.z * w${o}_2) + a${m}.w * w${o}_3;
#end
#end
                // Spares a turn without lanes (docs/kernels.md).
                if c + 1u >= params.c4 { break; }
            }
            if tw + 1u >= columns.taps { break; }
        }
        if th + 1u >= lines.taps { break; }
    }
#for o in 0..COLUMNS4
    let by${o} = affine(${o}u, ${COLUMNS4}u);
#end
#for m in 0..8
    if row${m} < rows {
#for o in 0..COLUMNS4
        let to${m}_${o} = pixel${m} + ${o}u * out_plane;
        out[to${m}_${o}] = pack64(finish(c${m}_${o}, by${o}, to${m}_${o}));
#end
    }
#end
}
