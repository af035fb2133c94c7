// How a row's invocations find it: one alone where ALONE is set (images of few texels), otherwise a whole workgroup. To
// be imported inside a function that knows params, rows, group, groups and local; afterwards `row` is the work and `lane`
// the first of this invocation's texels, of which it takes every ${LANES}th.
#if ALONE
    let index = linear_index(group, groups, local);
    let lane = 0u;
#else
    let index = group.x + group.y * groups.x;
    let lane = local;
#endif
    if index >= params.rows { return; }
    let row = rows[index];
    if row.slot == NOTHING { return; }
