//! Frozen encoders: features that depend on the image and its views alone.

mod common;
use common::gpu::gpu;
use common::training::{encoder_config, faces, recipe};
use contraleak::Error;
use contraleak::augment::Recipe;
use contraleak::nn::Stem;
use contraleak::train::{Encoder, EncoderConfig, Views};

const IMAGES: usize = 10;

#[test]
fn features_do_not_depend_on_the_batch() {
    let set = faces(IMAGES, 1);
    let encoder = Encoder::untrained(gpu(), encoder_config(), 3).unwrap();
    let dim = encoder.feature_dim();
    let all: Vec<usize> = (0..IMAGES).collect();
    // 200 rows make a batch: all images in one, six to a batch with a tail of four, one to a batch.
    for (views, name) in [
        (Views::plain(Recipe::plain(16)), "plain"),
        (Views { recipe: recipe(), count: 3, seed: 5 }, "3 views"),
        (Views { recipe: recipe(), count: 32, seed: 5 }, "32 views"),
        (Views { recipe: recipe(), count: 150, seed: 5 }, "150 views"),
    ] {
        let features = |indices: &[usize]| {
            encoder
                .features(gpu(), &set, indices, &views, |_| false)
                .unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let whole = features(&all);
        let row = views.count * dim;
        assert_eq!(whole.len(), IMAGES * row, "{name}");
        for indices in [&[7usize, 2][..], &[9], &[3, 3, 0, 1, 8]] {
            let part = features(indices);
            for (place, &index) in indices.iter().enumerate() {
                assert!(
                    part[place * row..(place + 1) * row] == whole[index * row..(index + 1) * row],
                    "{name}: image {index} as number {place} of {indices:?} has other features"
                );
            }
        }
        assert!(features(&[]).is_empty());
        let image = |index: usize| &whole[index * row..(index + 1) * row];
        assert_ne!(image(0), image(1), "{name}");
        if views.count > 1 {
            assert_ne!(image(0)[..dim], image(0)[dim..2 * dim], "{name}: two views are the same");
        }
    }
}

#[test]
fn views_depend_on_the_seed_alone() {
    let set = faces(IMAGES, 1);
    let encoder = Encoder::untrained(gpu(), encoder_config(), 3).unwrap();
    let features = |count, seed| {
        let views = Views { recipe: recipe(), count, seed };
        encoder.features(gpu(), &set, &[0, 4], &views, |_| false).unwrap()
    };
    assert_eq!(features(2, 1), features(2, 1));
    assert_ne!(features(2, 1), features(2, 2));
    // More views of an image leave the first ones as they are.
    let (two, five, dim) = (features(2, 1), features(5, 1), encoder.feature_dim());
    assert_eq!(two[..2 * dim], five[..2 * dim]);
    assert_eq!(two[2 * dim..], five[5 * dim..7 * dim]);
}

/// 70 views of 2 MiB after the first layer are over the 128 MiB that a software adapter binds: they go in several passes.
#[test]
fn views_of_one_image_beyond_a_binding_are_encoded_in_turns() {
    let set = faces(2, 1);
    let config = EncoderConfig { stem: Stem::Cifar, size: 256, ..encoder_config() };
    assert_eq!(config.width, 8, "the sizes here count on it");
    let encoder = Encoder::untrained(gpu(), config, 3).unwrap();
    let features = |indices: &[usize], count| {
        let views = Views { recipe: recipe().sized(256), count, seed: 1 };
        encoder.features(gpu(), &set, indices, &views, |_| false).unwrap()
    };
    // One view more than a binding holds of 2 MiB, which is what the first layer makes of one.
    let count = (gpu().facts().max_binding_bytes >> 21) as usize + 1;
    let (many, few, dim) = (features(&[0, 1], count), features(&[1], 3), encoder.feature_dim());
    assert_eq!(many.len(), 2 * count * dim);
    assert_eq!(few, many[count * dim..(count + 3) * dim]);
    let rows: std::collections::BTreeSet<Vec<u32>> =
        many.chunks(dim).map(|row| row.iter().map(|v| v.to_bits()).collect()).collect();
    assert_eq!(rows.len(), 2 * count, "every view is another one");
}

#[test]
fn the_caller_can_stop_and_mistakes_are_named() {
    let set = faces(IMAGES, 1);
    let encoder = Encoder::untrained(gpu(), encoder_config(), 3).unwrap();
    let run = |indices: &[usize], recipe: Recipe, count| {
        encoder.features(gpu(), &set, indices, &Views { recipe, count, seed: 0 }, |_| false)
    };
    let says = |result: Result<Vec<f32>, Error>, part: &str| {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(part), "expected {part:?} in: {error}");
    };
    says(run(&[0, IMAGES], recipe(), 2), "found 10");
    says(run(&[0], recipe(), 0), "views");
    says(run(&[0], recipe().sized(32), 2), "32x32");

    let views = Views { recipe: recipe(), count: 100, seed: 0 };
    let mut batches = Vec::new();
    let stopped = encoder.features(gpu(), &set, &[0, 1, 2, 3, 4], &views, |images| {
        batches.push(images);
        batches.len() == 3
    });
    assert!(matches!(stopped, Err(Error::Interrupted(_))));
    assert_eq!(batches, [2, 2, 1]);
}

#[test]
fn features_that_are_not_finite_name_the_image() {
    let set = faces(IMAGES, 1);
    let model =
        contraleak::train::Model::new(encoder_config(), contraleak::train::Attachments::NONE).unwrap();
    let mut values = model.parameters.initial_values(3);
    values.get_mut("layer4.1.bn2.bias").unwrap()[1] = f32::INFINITY;
    let encoder = Encoder::new(gpu(), encoder_config(), &values).unwrap();
    let result = encoder.features(gpu(), &set, &[6, 5], &Views::plain(Recipe::plain(16)), |_| false);
    match result {
        Err(Error::Diverged(message)) => assert!(message.contains(&set.ids[6]), "{message}"),
        other => panic!("expected an error at {}, found {other:?}", set.ids[6]),
    }
    values.remove("layer1.0.conv1.weight");
    let Err(error) = Encoder::new(gpu(), encoder_config(), &values) else { panic!("a tensor is missing") };
    assert!(error.to_string().contains("layer1.0.conv1.weight"), "{error}");
}
