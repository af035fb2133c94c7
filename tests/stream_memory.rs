//! What encoding takes of memory does not grow with the number of images. Alone in its binary, because it counts every
//! allocation of the process.

mod common;
use common::gpu::gpu;
use common::training::{encoder_config, recipe};
use contraleak::attack::blind::{FEATURES, describe_image};
use contraleak::data::{self, survey};
use contraleak::experiment::kept_features::{Keep, Measured, similarities};
use contraleak::kernels::similarity::Similarity;
use contraleak::train::{Encoder, Views};
use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn more(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Relaxed) + bytes, Relaxed);
}

// Safety: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        more(layout.size());
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Relaxed);
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const SIDE: usize = 224;

/// `count` files with the pixels of twenty small images, and the CSV that names them.
fn write_images(folder: &Path, count: usize) -> String {
    let pictures: Vec<Vec<u8>> = (0..20u8)
        .map(|salt| {
            let file = folder.join("picture.png");
            let pixels: Vec<u8> = (0..SIDE * SIDE * 3).map(|i| (i / 997) as u8 ^ (salt * 3)).collect();
            let side = SIDE as u32;
            image::save_buffer(&file, &pixels, side, side, image::ExtendedColorType::Rgb8).unwrap();
            std::fs::read(&file).unwrap()
        })
        .collect();
    let mut table = String::from("file\n");
    for index in 0..count {
        std::fs::write(folder.join(format!("{index}.png")), &pictures[index % 20]).unwrap();
        table += &format!("{index}.png\n");
    }
    std::fs::write(folder.join("images.csv"), table).unwrap();
    format!("csv:{}", folder.join("images.csv").display())
}

/// The most memory that `work` had in use beyond what was in use before it.
fn peak(work: impl FnOnce()) -> usize {
    let before = NOW.load(Relaxed);
    PEAK.store(before, Relaxed);
    work();
    PEAK.load(Relaxed) - before
}

#[test]
fn memory_does_not_grow_with_the_number_of_images() {
    let encoder = Encoder::untrained(gpu(), encoder_config(), 3).unwrap();
    // Batches of 50 images.
    let views = Views { recipe: recipe(), count: 4, seed: 1 };
    let folder = tempfile::tempdir().unwrap();
    let spec = write_images(folder.path(), 3000);
    let kept = folder.path().join("kept");
    let measure = |count: usize| {
        let spec = format!("{spec}#take=..{count}");
        let keep = Some(Keep { folder: &kept, name: "images", encoder: "sha" });
        let encoding = peak(|| {
            let images = data::open_images(&spec).unwrap();
            let images = &*images;
            let work = Measured { gpu: gpu(), encoder: &encoder, images, views: &views, keep };
            let found = similarities(&work, Similarity::Cosine, &mut |_| false).unwrap();
            assert_eq!(found.images(), count);
        });
        let looking = peak(|| {
            let images = data::open_images(&spec).unwrap();
            let found = survey(&*images, Some(&describe_image), &mut |_| false).unwrap();
            assert_eq!(found.described.len(), count * FEATURES);
        });
        [encoding, looking].map(|bytes| bytes as f64 / f64::from(1 << 20))
    };
    // The first run also compiles shaders.
    measure(100);
    let (few, many) = (measure(300), measure(3000));
    println!("MiB in use at most, encoding and survey: 300 images {few:.1?}, 3000 images {many:.1?}");
    // All pixels are 43 and 430 MiB. A batch is 7 MiB, and 10 MiB as the GPU reads it; a survey's chunk is 37 MiB.
    for (few, many, limit) in [(few[0], many[0], 80.0), (few[1], many[1], 80.0)] {
        assert!(many < few + 25.0, "{few:.1} MiB for 300 images, {many:.1} MiB for 3000");
        assert!(many < limit, "{many:.1} MiB for 3000 images");
    }
}
