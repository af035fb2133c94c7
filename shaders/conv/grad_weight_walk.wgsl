// The way of conv/grad_weight and conv/grad_weight_narrow through lines of whole turns, four pixels or ROUND times four, without a multiplication of variables in
// the loop, where it costs as much as a load: line_h and line_w are the line and column of x that tap (0, 0) would meet without
// padding, x_texel and dy_texel the texels of x and dy there. conv/grad_weight_next goes on to the next turn.
// To be imported inside a function that knows `first`, the first image, `lane_pixel`, which of the four pixels of x is this lane's,
// and `lane_dy`, where its texel of dy lies in an image.
    let start_w = i32(lane_pixel * params.stride);
    let end_w = start_w + i32(params.out_w * params.stride);
    let end_h = i32(params.out_h * params.stride);
    let run_w = i32(4u * params.stride);
    let run_x = 4u * params.stride * params.x_pixel;
    let turn_w = ${ROUND} * run_w;
    let turn_x = ${ROUND}u * run_x;
    let line_x = (params.width - params.out_w) * params.stride * params.x_pixel;
    let image_x = params.x_image - params.out_h * params.stride * params.width * params.x_pixel;
    let turn_dy = ${4 * ROUND}u * params.dy_pixel;
    let image_dy = params.dy_image - params.out_h * params.out_w * params.dy_pixel;
    var line_h = 0;
    var line_w = start_w;
    var x_texel = first * params.x_image + lane_pixel * params.stride * params.x_pixel;
    var dy_texel = first * params.dy_image + lane_dy;
