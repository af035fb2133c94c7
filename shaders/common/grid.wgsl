// The linear index of an invocation in a grid that was folded over two dimensions
// (Recording::grid): workgroups count x first, then y.
fn linear_index(group: vec3<u32>, groups: vec3<u32>, local: u32) -> u32 {
    return (group.x + group.y * groups.x) * ${WORKGROUP}u + local;
}
