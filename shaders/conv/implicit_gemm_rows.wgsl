// The rows of a lane, ROW_GROUPS of them LANES apart, as (image, line, column) of their class, where they see its first tap, and their
// pixel. To be imported inside a function that knows `class_`, `first_row` and `lane`, which ends here if the class has fewer rows.
    let class_line = divide(class_, params.step);
    let lines = axis_of(class_line, params.out_height);
    let columns = axis_of(class_ - class_line * params.step, params.out_width);
    let rows_image = lines.count * columns.count;
    let rows = params.images * rows_image;
    if first_row >= rows { return; }
    let plane = params.height * params.width;
    let out_plane = params.out_height * params.out_width;
#for m in 0..ROW_GROUPS
    let row${m} = first_row + ${m * LANES}u + lane;
    let n${m} = divide(row${m}, rows_image);
    let u${m} = divide(row${m} - n${m} * rows_image, columns.count);
    let v${m} = row${m} - n${m} * rows_image - u${m} * columns.count;
    let y${m} = i32(u${m}) * params.mul + lines.offset;
    let x${m} = i32(v${m}) * params.mul + columns.offset;
    let source${m} = n${m} * params.c4 * plane;
    let pixel${m} = n${m} * params.columns4 * out_plane + (lines.first + u${m} * params.step) * params.out_width
        + columns.first + v${m} * params.step;
#end
