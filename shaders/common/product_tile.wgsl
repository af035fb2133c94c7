// Scalar products of 16·ROWS_EACH rows with 64 columns, staged through workgroup memory by 256 invocations:
// afterwards c<i>_<j> of invocation (tx, ty) = (local % 16, local / 16) holds row ty + 16 i, column tx + 16 j.
// To be imported inside a function, where these names are known:
//   rows, columns  row-major matrices of vec4;  staged_rows, staged_columns: workgroup arrays of
//                  vec4 [4 · 16 · ROWS_EACH] and [256]
//   depth          vec4 of a row;  first_row, row_count, first_column, column_count;  local, tx, ty
// Rows and columns outside their counts are taken as zero.
#for i in 0..ROWS_EACH
#for j in 0..4
    var c${i}_${j} = 0.0;
#end
#end
    for (var k0 = 0u; k0 < depth; k0 += 4u) {
        let staged_line = local / 4u;
        let k = k0 + local % 4u;
        workgroupBarrier();
        if staged_line < ${16 * ROWS_EACH}u {
            let row = first_row + staged_line;
            var value = vec4<f32>(0.0);
            if row < row_count && k < depth { value = rows[row * depth + k]; }
            staged_rows[(local % 4u) * ${16 * ROWS_EACH}u + staged_line] = value;
        }
        let column = first_column + staged_line;
        var value = vec4<f32>(0.0);
        if column < column_count && k < depth { value = columns[column * depth + k]; }
        staged_columns[(local % 4u) * 64u + staged_line] = value;
        workgroupBarrier();
        for (var step = 0u; step < 4u; step++) {
#for j in 0..4
            let b${j} = staged_columns[step * 64u + tx + ${j * 16}u];
#end
#for i in 0..ROWS_EACH
            let a${i} = staged_rows[step * ${16 * ROWS_EACH}u + ty + ${i * 16}u];
#for j in 0..4
            c${i}_${j} += dot(a${i}, b${j});
#end
#end
        }
    }
