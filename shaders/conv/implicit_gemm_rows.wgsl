// The rows of a lane, ROW_GROUPS of them LANES apart, as (image, line, column), and where tap 0 lies in the source. To be
// imported inside a function that knows `first_row` and `lane`.
#for m in 0..ROW_GROUPS
    let row${m} = first_row + ${m * LANES}u + lane;
    let n${m} = divide(row${m}, params.rows_image);
    let u${m} = divide(row${m} - n${m} * params.rows_image, params.rows_line);
    let v${m} = row${m} - n${m} * params.rows_image - u${m} * params.rows_line;
    let y${m} = i32(u${m}) * params.mul + params.off_h;
    let x${m} = i32(v${m}) * params.mul + params.off_w;
    let source${m} = n${m} * params.source_image;
#end
