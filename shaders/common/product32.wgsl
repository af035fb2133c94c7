// The 32 x 32 scalar products of 32 rows with one panel of 32 columns, for one subgroup of eight lanes that is
// the whole workgroup: afterwards c<r> of lane l holds the products of row r with columns 4l..4l+3.
// To be imported inside a function, where these names are known:
//   rows, panels   textures: texel (row, k) at row·depth + k holds 4 values of a row; texel (panel, d, lane) at
//                  (panel·4·depth + d)·8 + lane holds value d of 4 columns (similarity/pack_panels)
//   lane           this lane;  depth: texels of a row;  first_row;  panel
// One row's value reaches all lanes by a broadcast from a constant lane. Accumulators have names, because
// arrays indexed by a variable live in memory.
#for r in 0..32
    var c${r} = vec4<f32>(0.0);
#end
    {
        var row_texel = (first_row + lane) * depth;
        var panel_texel = panel * depth * 32u + lane;
        for (var k = 0u; k < depth; k++) {
#for m in 0..4
            let a${m} = textureLoad(rows, at(row_texel + ${m * 8}u * depth));
#end
#for q in 0..4
            let b${q} = textureLoad(panels, at(panel_texel + ${q * 8}u));
#end
#for r in 0..32
            let s${r} = subgroupBroadcast(a${r / 8}, ${r % 8}u);
            c${r} = (((c${r} + s${r}.x * b0) + s${r}.y * b1) + s${r}.z * b2) + s${r}.w * b3;
#end
            row_texel += 1u;
            panel_texel += 32u;
        }
    }
