//! Sizes of tile: every one of the table gives the same bits, forced onto whatever adapter there is; and the rates that
//! choose among them are measured, kept and read back, whatever state the file is in.

mod common;

use common::dense::{EVERY_DIRECTION, Kind, Operands, define, devices, sum_bound, tiled_classes};
use common::gpu::{Case, gpu};
use contraleak::gpu::{
    Facts, Gpu, GpuOptions, KernelClass, RateSource, Recording, TileRate, TileRates, TuneCache,
};
use contraleak::kernels::conv::Conv2d;
use contraleak::kernels::matmul::{Layout, matmul};
use contraleak::kernels::tune::{self, tile_sizes};
use contraleak::kernels::variants::variants;
use contraleak::kernels::{Shape, Tensor};
use contraleak::reference::matmul::{MatmulShape, Transpose, matmul_batched};

fn forced(gpu: &Gpu, (rows, columns): (u32, u32)) -> Facts {
    let [_, discrete] = tiled_classes(gpu);
    Facts { tile_rates: TileRates::only(rows, columns), ..discrete }
}

#[test]
fn the_table_is_short_and_fits_every_adapter() {
    let mut sizes = tile_sizes();
    assert!((4..=8).contains(&sizes.len()));
    sizes.sort();
    sizes.dedup();
    assert_eq!(sizes.len(), tile_sizes().len(), "sizes tell tiles apart");
}

/// Sums in one part and in several, each with tails in every dimension and a sum that ends within a step.
#[test]
fn every_tile_gives_the_same_bits_in_matmul() {
    for (shape, batch, dispatches) in [
        (MatmulShape { m: 133, n: 141, k: 77 }, 3, 1),
        (MatmulShape { m: 37, n: 13, k: 2059 }, 2, 2),
        (MatmulShape { m: 1, n: 1, k: 1 }, 1, 1),
    ] {
        for (layout, transpose) in
            [(Layout::Nn, Transpose::Nn), (Layout::Nt, Transpose::Nt), (Layout::Tn, Transpose::Tn)]
        {
            let MatmulShape { m, n, k } = shape;
            let ((a_rows, a_columns), (b_rows, b_columns)) = match layout {
                Layout::Nn => ((m, k), (k, n)),
                Layout::Nt => ((m, k), (n, k)),
                Layout::Tn => ((k, m), (k, n)),
            };
            for gpu in devices() {
                let mut first: Option<Vec<u32>> = None;
                for size in tile_sizes() {
                    let mut case = Case::with_facts(gpu, &forced(gpu, size));
                    let (a, a_values) = case.random("a", Shape::matrix(batch * a_rows, a_columns), 3, 1.0);
                    let (b, b_values) = case.random("b", Shape::matrix(batch * b_rows, b_columns), 3, 1.0);
                    let c = case.output("c", Shape::matrix(batch * m, n));
                    matmul(&mut case.recording, layout, batch, a, b, c);
                    let used: Vec<_> = case.recording.dispatches().collect();
                    assert_eq!(define(used[0], "BM").zip(define(used[0], "BN")), Some(size));
                    assert_eq!(used.len(), dispatches, "{m} x {n} x {k}: a product and a sum of its parts");
                    let done = case.run();
                    let bits: Vec<u32> = done.packed(c).into_iter().map(f32::to_bits).collect();
                    let expected = first.get_or_insert_with(|| bits.clone());
                    assert_eq!(*expected, bits, "{layout:?} {m} x {n} x {k} in tiles of {size:?}");
                    let absolute = |values: &[f64]| values.iter().map(|v| v.abs()).collect::<Vec<f64>>();
                    let twin = |a: &[f64], b: &[f64]| matmul_batched(transpose, a, b, batch, shape);
                    let magnitudes = twin(&absolute(&a_values), &absolute(&b_values));
                    done.assert_close(c, &twin(&a_values, &b_values), |i| sum_bound(k) * magnitudes[i]);
                }
            }
        }
    }
}

#[test]
fn every_tile_gives_the_same_bits_in_three_directions_of_a_convolution() {
    for (input, channels, kernel, stride, padding) in [
        (Shape::new(2, 37, 17, 15), 45, 3, 1, 1),
        (Shape::new(3, 9, 14, 13), 133, 3, 2, 1),
        (Shape::new(1, 130, 9, 8), 21, 1, 1, 0),
        (Shape::new(2, 3, 15, 16), 16, 7, 2, 3),
    ] {
        let conv = Conv2d::new(input, channels, kernel, stride, padding).expect("fits");
        let operands = Operands::random(conv, Kind::Dense, 8);
        let check = operands.checker(&EVERY_DIRECTION);
        for gpu in devices() {
            let mut first = None;
            for size in tile_sizes() {
                let mut seen = Vec::new();
                let results = operands.run(gpu, &forced(gpu, size), &EVERY_DIRECTION, |dispatch| {
                    seen.extend(define(dispatch, "BM").zip(define(dispatch, "BN")));
                });
                assert_eq!(seen, [size; 3], "{conv:?}: a product for each direction");
                check(&results, &format!("{size:?}"));
                let expected = first.get_or_insert_with(|| results.clone());
                assert!(*expected == results, "{conv:?} in tiles of {size:?}: other bits than in the first");
            }
        }
    }
}

/// The number of parts and what they hold come from the shape: whatever the adapter, so that bits do not depend on it.
#[test]
fn sums_are_split_by_the_shape_alone() {
    let parts = |facts: &Facts, m: usize, n: usize, k: usize, batch: usize| {
        let mut recording = Recording::new(facts);
        let [a, b, c] =
            [Shape::matrix(batch * m, k), Shape::matrix(batch * k, n), Shape::matrix(batch * m, n)]
                .map(|shape| Tensor::transient(&mut recording, "operand", shape));
        matmul(&mut recording, Layout::Nn, batch, a, b, c);
        let dispatches: Vec<_> = recording.dispatches().collect();
        let (product, sum) = (dispatches[0], dispatches.get(1));
        assert!(sum.is_none_or(|sum| sum.shader == "reduce/sum_parts"));
        let part = product.immediates[3] as usize;
        assert!(part.is_multiple_of(16));
        // It reads every part and writes their sum.
        (part, sum.map_or(1, |sum| (sum.bytes / c.shape.bytes()) as usize - 1))
    };
    let [integrated, discrete] = tiled_classes(gpu());
    let all = [integrated.clone(), discrete, forced(gpu(), (128, 32)), forced(gpu(), (32, 32))];
    for (m, n, k, batch, count) in [
        (64, 64, 8192, 1, 16),
        (10, 2048, 1024, 1, 2),
        (512, 512, 4096, 1, 4),
        (64, 64, 511, 1, 1),
        (1024, 1024, 8192, 1, 1),
        (64, 64, 8192, 128, 2),
    ] {
        let found: Vec<_> = all.iter().map(|facts| parts(facts, m, n, k, batch)).collect();
        assert!(found.iter().all(|each| *each == found[0]), "{m} x {n} x {k}: {found:?}");
        let (part, parts) = found[0];
        assert_eq!(parts, count, "{m} x {n} x {k}, {batch} times");
        assert!(part * parts >= k && part * (parts - 1) < k, "{part} terms in each of {parts} parts of {k}");
    }
}

#[test]
fn rates_choose_the_tile() {
    let [_, discrete] = tiled_classes(gpu());
    let rate = |rows, columns, full_ns, alone_ns| TileRate { rows, columns, full_ns, alone_ns };
    let tiles = vec![rate(128, 128, 4.0, 400.0), rate(32, 32, 1.0, 20.0), rate(7, 7, 1e-9, 1e-9)];
    assert_eq!((tiles[0].slots(), tiles[0].cost(50), tiles[0].cost(200)), (100.0, 400.0, 800.0));
    let facts = Facts { tile_rates: TileRates::measured(tiles).expect("positive"), ..discrete.clone() };
    let tile = |facts: &Facts, m: usize, n: usize| {
        let mut recording = Recording::new(facts);
        let [a, b, c] = [Shape::matrix(m, 16), Shape::matrix(16, n), Shape::matrix(m, n)]
            .map(|shape| Tensor::transient(&mut recording, "operand", shape));
        matmul(&mut recording, Layout::Nn, 1, a, b, c);
        let first = recording.dispatches().next().expect("a product");
        define(first, "BM").zip(define(first, "BN")).expect("tiled")
    };
    // 256 small tiles cost 256, 16 large ones as much as one alone; 4,096 small ones cost more than 256 large ones.
    assert_eq!(tile(&facts, 512, 512), (32, 32));
    assert_eq!(tile(&facts, 2048, 2048), (128, 128));
    // Sizes that the table does not have are not chosen, and without any other the constants decide.
    let unknown = TileRates::measured(vec![rate(7, 7, 1.0, 1.0)]).expect("positive");
    assert_eq!(tile(&Facts { tile_rates: unknown, ..discrete.clone() }, 512, 512), tile(&discrete, 512, 512));
    // Whoever asks hears which rates decide.
    let said = |facts: &Facts| variants(facts).into_iter().map(|v| (v.family, v.variant)).collect::<Vec<_>>();
    let cached = TileRates { source: RateSource::Cache, ..facts.tile_rates.clone() };
    for (facts, variant) in [
        (&facts, "tiled: sizes by rates measured now"),
        (&Facts { tile_rates: cached, ..discrete.clone() }, "tiled: sizes by measured rates from the cache"),
        (&discrete, "tiled: large tiles where the shape allows"),
    ] {
        for family in ["conv2d", "matmul"] {
            assert!(said(facts).contains(&(family, variant)), "{:?}", said(facts));
        }
    }
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = TileRates::measured(vec![rate(64, 64, wrong, 1.0)]).expect_err("no time");
        assert!(error.to_string().contains("tile of 64 x 64"), "{error}");
    }
}

/// A software adapter stands in for a GPU: its tiled kernels are slow, but they run.
#[test]
fn rates_are_measured_once_and_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("deep").join("tiles.json");
    let cache = TuneCache::at(&path);
    let facts = forced(gpu(), (64, 64));
    let start = std::time::Instant::now();
    let measured = tune::tile_rates(gpu(), &facts, Some(&cache));
    println!("measured and compiled in {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(measured.source, RateSource::Measured);
    let sizes = |rates: &TileRates| rates.tiles.iter().map(|t| (t.rows, t.columns)).collect::<Vec<_>>();
    assert_eq!(sizes(&measured), tile_sizes());
    for tile in &measured.tiles {
        println!("{tile:?}");
        let nanoseconds = 1e-3..1e7;
        assert!(nanoseconds.contains(&tile.full_ns) && nanoseconds.contains(&tile.alone_ns), "{tile:?}");
    }
    let again = tune::tile_rates(gpu(), &facts, Some(&cache));
    assert_eq!((again.source, &again.tiles), (RateSource::Cache, &measured.tiles));

    // What is in the file is JSON that people can read, with what the rates hold for.
    let text = std::fs::read_to_string(&path).expect("it was written");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let description = gpu().description();
    assert_eq!(json[0]["adapter"], description.name.as_str());
    assert_eq!(json[0]["driver_info"], description.driver_info.as_str());
    assert_eq!(json[0]["kernels_sha256"].as_str().map(str::len), Some(64));
    assert_eq!(
        std::fs::read_dir(path.parent().expect("a folder")).expect("a folder").count(),
        1,
        "nothing aside"
    );

    // Another driver, a number that is none, a cut, other bytes, nothing: measured again, never an error.
    let broken = [
        text.replace(&description.driver_info, "another driver"),
        text.replacen(&measured.tiles[0].full_ns.to_string(), "-1.0", 1),
        text.replacen("\"rows\": 128", "\"rows\": 127", 1),
        text[..text.len() / 2].to_string(),
        "\u{0}\u{1}".to_string(),
        "{}".to_string(),
        String::new(),
    ];
    let key = tune::key(gpu());
    for content in broken {
        assert_ne!(content, text);
        std::fs::write(&path, &content).expect("written");
        assert_eq!(cache.read(&key, &tile_sizes()), None, "{content:.100}");
        cache.write(&key, &measured).expect("a broken file is replaced");
        let read = cache.read(&key, &tile_sizes()).expect("it was written");
        assert_eq!(read.tiles, measured.tiles);
    }
    // Entries of others stay, up to a number.
    for i in 0..40 {
        let other = contraleak::gpu::TuneKey { adapter: format!("adapter {i}"), ..key.clone() };
        cache.write(&other, &measured).expect("written");
    }
    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&path).expect("there")).expect("JSON");
    assert_eq!(json.as_array().map(Vec::len), Some(16));
    assert_eq!(json[15]["adapter"], "adapter 39");
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("a file");
    std::fs::write(&file, "").expect("written");
    let cache = TuneCache::at(file.join("tiles.json"));
    let rates = TileRates::measured(vec![TileRate { rows: 64, columns: 64, full_ns: 1.0, alone_ns: 1.0 }]);
    let error = cache.write(&tune::key(gpu()), &rates.expect("positive")).expect_err("a file in the way");
    assert!(error.to_string().contains("a file"), "{error}");
    assert_eq!(cache.read(&tune::key(gpu()), &tile_sizes()), None);
    // A folder where the file should be.
    let cache = TuneCache::at(folder.path());
    assert_eq!(cache.read(&tune::key(gpu()), &tile_sizes()), None);
}

#[test]
fn software_adapters_and_deterministic_runs_measure_nothing() {
    for deterministic in [false, true] {
        let opened = tune::open(&GpuOptions { deterministic, ..GpuOptions::default() }).expect("opens");
        let software = opened.facts().class == KernelClass::Software;
        assert_eq!(opened.facts().tile_rates == TileRates::default(), software || deterministic);
    }
    let software =
        Facts { class: KernelClass::Software, subgroup: Some(8), int64: true, ..gpu().facts().clone() };
    let error = tune::measure(gpu(), &software).expect_err("no tiles");
    assert!(error.to_string().contains("no tiles"), "{error}");
}
