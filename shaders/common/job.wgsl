// Whose work a workgroup does (gpu::Job): its row of the table.
@group(0) @binding(2) var<storage, read> jobs: array<array<vec4<u32>, 2>>;

struct Job {
    // The invocation among the job's.
    index: u32,
    // Texels of bindings 0 and 1 at which its own begin.
    read_from: u32,
    write_from: u32,
    numbers: vec4<u32>,
    fifth: u32,
}

fn job_of(group: vec3<u32>, groups: vec3<u32>, local: u32) -> Job {
    let row = group.x + group.y * groups.x;
    let places = jobs[row][0];
    let numbers = jobs[row][1];
    return Job(places.x + local, places.y, places.z, vec4<u32>(places.w, numbers.xyz), numbers.w);
}
