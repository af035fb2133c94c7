// To the next turn: see conv/grad_weight_walk.
        line_w += turn_w;
        let line_done = line_w == end_w;
        line_w = select(line_w, start_w, line_done);
        line_h += select(0, i32(params.stride), line_done);
        let image_done = line_h == end_h;
        line_h = select(line_h, 0, image_done);
        x_texel += turn_x + select(0u, line_x, line_done) + select(0u, image_x, image_done);
        dy_texel += turn_dy + select(0u, image_dy, image_done);
