//! Transformer layers from end to end against plain f64 loops: a small vision transformer and CLIP's attention pool,
//! with the gradient of every parameter and of the images by central differences.

mod common;
use common::assert_close;
use common::gpu::{Draw, gpu};
use contraleak::Result;
use contraleak::gpu::{Buffer, Facts, KernelClass, Program, Recording};
use contraleak::graph::ops::{Add, AvgPool2d, Gelu, Reshape, SoftmaxCrossEntropy, TakeTokens};
use contraleak::graph::{Form, Graph, Init, Memory, ParameterId, ParameterSet, Role, Value};
use contraleak::kernels::Shape;
use contraleak::nn::{
    AttentionPool2d, ClassToken, Conv, LayerNorm, Linear, LinearInit, Mode, MultiHeadAttention, Names,
    Positions, Tracer,
};
use std::collections::BTreeMap;

type Values = BTreeMap<String, Vec<f64>>;
/// Tokens of one image, a row each.
type Tokens = Vec<Vec<f64>>;

const IMAGES: usize = 3;
const LABELS: [u32; IMAGES] = [1, 0, 4];

/// x Wᵀ + b.
fn linear(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let product = |w: &[f64]| w.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    weight.chunks(x.len()).zip(bias).map(|(w, b)| product(w) + b).collect()
}

fn layer(values: &Values, name: &str, x: &[f64]) -> Vec<f64> {
    linear(&values[&format!("{name}.weight")], &values[&format!("{name}.bias")], x)
}

fn layer_norm(values: &Values, name: &str, x: &[f64]) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
    let (weight, bias) = (&values[&format!("{name}.weight")], &values[&format!("{name}.bias")]);
    (0..x.len()).map(|i| (x[i] - mean) / (variance + 1e-5).sqrt() * weight[i] + bias[i]).collect()
}

/// What each query mixes of the values.
fn attend(heads: usize, queries: &Tokens, keys: &Tokens, values: &Tokens) -> Tokens {
    let channels = queries[0].len();
    let width = channels / heads;
    let mut mixed = vec![vec![0.0; channels]; queries.len()];
    for head in 0..heads {
        let range = head * width..(head + 1) * width;
        for (query, out) in queries.iter().zip(&mut mixed) {
            let scores: Vec<f64> = keys
                .iter()
                .map(|key| range.clone().map(|c| query[c] * key[c]).sum::<f64>() / (width as f64).sqrt())
                .collect();
            let total: f64 = scores.iter().map(|s| s.exp()).sum();
            for (score, value) in scores.iter().zip(values) {
                for c in range.clone() {
                    out[c] += score.exp() / total * value[c];
                }
            }
        }
    }
    mixed
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// Stride-`side` convolution of one image `[3, H, W]` with kernels of that side: a row for each patch.
fn patches(values: &Values, image: &[f64], size: usize, side: usize, channels: usize) -> Tokens {
    let weight = &values["conv1.weight"];
    let grid = size / side;
    let patch = |p: usize, o: usize| {
        let mut sum = values.get("conv1.bias").map_or(0.0, |b| b[o]);
        for (k, w) in weight.chunks(3 * side * side).nth(o).unwrap().iter().enumerate() {
            let (c, y, x) = (k / side / side, k / side % side, k % side);
            sum += w * image[(c * size + p / grid * side + y) * size + p % grid * side + x];
        }
        sum
    };
    (0..grid * grid).map(|p| (0..channels).map(|o| patch(p, o)).collect()).collect()
}

fn cross_entropy(logits: &[Vec<f64>]) -> f64 {
    let of_row =
        |(y, &label): (&Vec<f64>, &u32)| y.iter().map(|v| v.exp()).sum::<f64>().ln() - y[label as usize];
    logits.iter().zip(&LABELS).map(of_row).sum::<f64>() / LABELS.len() as f64
}

/// A network as the engine traces it and as loops say it.
trait Network {
    fn new(names: &mut Names) -> Self;
    /// Shape of the images.
    fn input() -> Shape;
    fn trace(&self, tracer: &mut Tracer, images: Value) -> Result<Value>;
    fn logits(values: &Values, image: &[f64]) -> Vec<f64>;
}

/// Patches of 4 x 4, a class token, positions, one block before its norms with both activations in a row, a
/// projection: everything that CLIP's vision transformer has.
struct Transformer {
    conv1: Conv,
    class: ClassToken,
    positions: Positions,
    norms: [LayerNorm; 3],
    attention: MultiHeadAttention,
    c_fc: Linear,
    c_proj: Linear,
    proj: Linear,
}

const WIDTH: usize = 24;
const HEADS: usize = 2;
const CLASSES: usize = 5;

impl Network for Transformer {
    fn new(names: &mut Names) -> Transformer {
        let draw = Init::Normal(0.3);
        let conv1 = Conv::new(&mut names.inside("conv1"), 3, WIDTH, 4, 4, 0, draw);
        let norms = ["ln_pre", "ln_1", "ln_2"].map(|name| LayerNorm::new(&mut names.inside(name), WIDTH));
        let mut linear =
            |name, i, o| Linear::new(&mut names.inside(name), i, o, true, None, LinearInit::Default);
        let (c_fc, c_proj) = (linear("c_fc", WIDTH, 2 * WIDTH + 2), linear("c_proj", 2 * WIDTH + 2, WIDTH));
        Transformer {
            conv1,
            class: ClassToken::new(names, "class_embedding", WIDTH, draw),
            positions: Positions::new(names, "positional_embedding", 7, WIDTH, draw),
            norms,
            attention: MultiHeadAttention::new(&mut names.inside("attn"), WIDTH, HEADS),
            c_fc,
            c_proj,
            proj: Linear::projection(names, "proj", WIDTH, CLASSES, draw),
        }
    }
    fn input() -> Shape {
        Shape::new(IMAGES, 3, 8, 12)
    }
    fn trace(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        let map = self.conv1.forward(tracer, images)?;
        let to_tokens = Reshape::tokens(tracer.graph.shape(map)?);
        let mut x = tracer.graph.apply1(to_tokens, &[map])?;
        x = self.class.forward(tracer, x)?;
        x = self.positions.forward(tracer, x)?;
        x = self.norms[0].forward(tracer, x)?;
        let normed = self.norms[1].forward(tracer, x)?;
        let attended = self.attention.forward(tracer, normed)?;
        x = tracer.graph.apply1(Add, &[x, attended])?;
        let mut y = self.norms[2].forward(tracer, x)?;
        y = self.c_fc.forward(tracer, y)?;
        y = tracer.graph.apply1(Gelu::Quick, &[y])?;
        y = tracer.graph.apply1(Gelu::Exact, &[y])?;
        y = self.c_proj.forward(tracer, y)?;
        x = tracer.graph.apply1(Add, &[x, y])?;
        let class = tracer.graph.apply1(TakeTokens::one(0), &[x])?;
        self.proj.forward(tracer, class)
    }
    fn logits(values: &Values, image: &[f64]) -> Vec<f64> {
        use contraleak::reference::elementwise::Gelu;
        // Two rows of three patches.
        let halves: Vec<Tokens> = (0..3).map(|column| column_patches(values, image, column)).collect();
        let mut x = vec![values["class_embedding"].clone()];
        x.extend((0..2).flat_map(|row| halves.iter().map(move |half| half[row].clone())));
        let positions = values["positional_embedding"].chunks(WIDTH);
        x = x.iter().zip(positions).map(|(x, p)| layer_norm(values, "ln_pre", &add(x, p))).collect();
        let normed: Tokens = x.iter().map(|x| layer_norm(values, "ln_1", x)).collect();
        let packed: Tokens = normed
            .iter()
            .map(|x| linear(&values["attn.in_proj_weight"], &values["attn.in_proj_bias"], x))
            .collect();
        let part =
            |i: usize| -> Tokens { packed.iter().map(|p| p[i * WIDTH..(i + 1) * WIDTH].to_vec()).collect() };
        let mixed = attend(HEADS, &part(0), &part(1), &part(2));
        let first = add(&x[0], &layer(values, "attn.out_proj", &mixed[0]));
        let mut y = layer(values, "c_fc", &layer_norm(values, "ln_2", &first));
        y.iter_mut().for_each(|v| *v = Gelu::Exact.apply(Gelu::Quick.apply(*v)));
        let first = add(&first, &layer(values, "c_proj", &y));
        // The projection stands on the right: [WIDTH, CLASSES].
        let column = |o: usize| (0..WIDTH).map(|i| first[i] * values["proj"][i * CLASSES + o]).sum();
        (0..CLASSES).map(column).collect()
    }
}

/// The two patches of one column of an image of 8 x 12, upper first.
fn column_patches(values: &Values, image: &[f64], column: usize) -> Tokens {
    let cut = |top: usize| -> Vec<f64> {
        (0..48).map(|k| image[(k / 16 * 8 + top + k / 4 % 4) * 12 + column * 4 + k % 4]).collect()
    };
    [0, 4].map(|top| patches(values, &cut(top), 4, 4, WIDTH).remove(0)).to_vec()
}

/// A convolution with bias, average pooling and CLIP's attention pool.
struct Pooled {
    conv1: Conv,
    pool: AttentionPool2d,
}

impl Network for Pooled {
    fn new(names: &mut Names) -> Pooled {
        let conv1 = Conv::new(&mut names.inside("conv1"), 3, WIDTH, 2, 2, 0, Init::Normal(0.3));
        let conv1 = conv1.with_bias(&mut names.inside("conv1"), WIDTH, Init::Normal(0.3));
        let pool = AttentionPool2d::new(&mut names.inside("attnpool"), 4, WIDTH, 3, CLASSES);
        Pooled { conv1, pool }
    }
    fn input() -> Shape {
        Shape::new(IMAGES, 3, 8, 8)
    }
    fn trace(&self, tracer: &mut Tracer, images: Value) -> Result<Value> {
        let map = self.conv1.forward(tracer, images)?;
        let map = tracer.graph.apply1(AvgPool2d { kernel: 2, stride: 2 }, &[map])?;
        self.pool.forward(tracer, map)
    }
    fn logits(values: &Values, image: &[f64]) -> Vec<f64> {
        let map = patches(values, image, 8, 2, WIDTH);
        let mean = |of: Vec<&Vec<f64>>| -> Vec<f64> {
            let count = of.len() as f64;
            (0..WIDTH).map(|c| of.iter().map(|x| x[c]).sum::<f64>() / count).collect()
        };
        let pooled: Tokens = (0..4)
            .map(|p| {
                let corner = p / 2 * 8 + p % 2 * 2;
                mean([0, 1, 4, 5].map(|step| &map[corner + step]).to_vec())
            })
            .collect();
        let mut x = vec![mean(pooled.iter().collect())];
        x.extend(pooled);
        let positions = values["attnpool.positional_embedding"].chunks(WIDTH);
        x = x.iter().zip(positions).map(|(x, p)| add(x, p)).collect();
        let project = |name: &str, x: &[Vec<f64>]| -> Tokens {
            x.iter().map(|x| layer(values, &format!("attnpool.{name}"), x)).collect()
        };
        let mixed = attend(3, &project("q_proj", &x[..1]), &project("k_proj", &x), &project("v_proj", &x));
        layer(values, "attnpool.c_proj", &mixed[0])
    }
}

/// Values far from those that hide mistakes: nothing zero, no weight one.
fn draw_values(parameters: &ParameterSet) -> Values {
    let mut draw = Draw(77);
    parameters
        .iter()
        .map(|(_, p)| {
            let scale = if p.dimensions.len() > 1 { 0.4 } else { 0.7 };
            let values = (0..p.form.elements()).map(|_| f64::from((draw.unit() * scale) as f32));
            (p.name.clone(), values.collect())
        })
        .collect()
}

fn check<N: Network>(facts: &Facts) {
    let mut parameters = ParameterSet::new();
    let shape = N::input();
    let image_dimensions = vec![shape.n, shape.c, shape.h, shape.w];
    let form = Form::Tensor(shape);
    let images = parameters.add("images".into(), form, image_dimensions, Init::Zeros, Role::Trained);
    let network = N::new(&mut Names::new(&mut parameters));
    let values = draw_values(&parameters);

    let mut graph = Graph::new();
    let mut tracer = Tracer::new(&mut graph, &parameters, Mode::Train);
    let input = tracer.parameter(images);
    let logits = network.trace(&mut tracer, input).unwrap();
    let labels = graph.input("labels", Form::Bytes(4 * IMAGES as u64));
    let loss = graph.apply1(SoftmaxCrossEntropy { smoothing: 0.0 }, &[logits, labels]).unwrap();
    let gradients = graph.backward(loss).unwrap();
    assert_eq!(gradients.len(), parameters.iter().count(), "every parameter has a gradient");

    let mut recording = Recording::new(facts);
    let single: BTreeMap<String, Vec<f32>> =
        values.iter().map(|(name, v)| (name.clone(), v.iter().map(|&v| v as f32).collect())).collect();
    let arena = gpu().buffer_with("arena", &parameters.pack_arena(Role::Trained, &single).unwrap()).unwrap();
    let mut unpacked = BTreeMap::new();
    let read: Vec<f32> = gpu().read(&arena, 0, arena.bytes() as usize / 4).unwrap();
    parameters.unpack_arena(Role::Trained, &read, &mut unpacked);
    assert_eq!(unpacked, single, "what was packed comes back in file order");
    let label_buffer = gpu().buffer_with("labels", &LABELS).unwrap();
    let mut memory = Memory::default().with_input("labels", recording.persistent(&label_buffer));
    for (id, value) in graph.parameters() {
        memory.values.insert(value, parameters.slice(id, &mut recording, &arena));
    }
    let mut keep = |value: Value, recording: &mut Recording| -> Buffer {
        let buffer = gpu().buffer("result", graph.form(value).bytes()).unwrap();
        memory.values.insert(value, recording.persistent(&buffer));
        buffer
    };
    let (logit_buffer, loss_buffer) = (keep(logits, &mut recording), keep(loss, &mut recording));
    let kept: Vec<(ParameterId, Buffer)> =
        gradients.iter().map(|&(id, value)| (id, keep(value, &mut recording))).collect();
    graph.record(&mut recording, &memory).unwrap();
    Program::build(gpu(), &recording).unwrap().run(gpu()).unwrap();

    let floats = |buffer: &Buffer, form: Form| -> Vec<f32> {
        gpu().read(buffer, 0, form.bytes() as usize / 4).unwrap()
    };
    let double = |values: Vec<f32>| -> Vec<f64> { values.into_iter().map(f64::from).collect() };
    let rows = |values: &Values| -> Vec<Vec<f64>> {
        values["images"].chunks(shape.elements() / IMAGES).map(|image| N::logits(values, image)).collect()
    };
    let got = double(graph.form(logits).unpack(&floats(&logit_buffer, graph.form(logits))));
    assert_close("logits", &got, &rows(&values).concat(), 1e-5);
    let got = double(graph.form(loss).unpack(&floats(&loss_buffer, graph.form(loss))));
    assert_close("loss", &got, &[cross_entropy(&rows(&values))], 1e-5);
    let mut moved = values.clone();
    for (id, buffer) in &kept {
        let parameter = parameters.get(*id);
        let name = &parameter.name;
        let got = double(parameter.unpack(&floats(buffer, parameter.form)));
        // Every element of a small parameter, and some of a large one.
        let step = values[name].len().div_ceil(61);
        let chosen: Vec<usize> = (0..values[name].len()).step_by(step).collect();
        let expected: Vec<f64> = chosen
            .iter()
            .map(|&i| {
                let mut at = |by: f64| {
                    moved.get_mut(name).unwrap()[i] = values[name][i] + by;
                    cross_entropy(&rows(&moved))
                };
                let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
                at(0.0);
                slope
            })
            .collect();
        let got: Vec<f64> = chosen.iter().map(|&i| got[i]).collect();
        // A bias of the keys moves all scores of a query alike, so its gradient is zero but for roundings.
        let largest = expected.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            let error = (got - expected).abs() / largest;
            assert!(error <= 2e-5, "gradient of {name}, {}: {got}, expected {expected}", chosen[i]);
        }
    }
}

/// This adapter's class, and one that reads buffers.
fn classes() -> [Facts; 2] {
    let here = gpu().facts().clone();
    [here.clone(), Facts { class: KernelClass::Integrated, ..here }]
}

#[test]
fn a_vision_transformer_and_its_gradients_are_what_loops_give() {
    for facts in classes() {
        check::<Transformer>(&facts);
    }
}

#[test]
fn an_attention_pool_and_its_gradients_are_what_loops_give() {
    for facts in classes() {
        check::<Pooled>(&facts);
    }
}

#[test]
fn parameters_have_the_names_the_sizes_and_the_initial_values_of_clip() {
    let mut parameters = ParameterSet::new();
    let mut names = Names::new(&mut parameters);
    MultiHeadAttention::new(&mut names.inside("attn"), 64, 4);
    AttentionPool2d::new(&mut names.inside("attnpool"), 49, 64, 4, 32);
    let found: Vec<(&str, &[usize])> =
        parameters.iter().map(|(_, p)| (p.name.as_str(), p.dimensions.as_slice())).collect();
    let expected: [(&str, &[usize]); 13] = [
        ("attn.in_proj_weight", &[192, 64]),
        ("attn.in_proj_bias", &[192]),
        ("attn.out_proj.weight", &[64, 64]),
        ("attn.out_proj.bias", &[64]),
        ("attnpool.positional_embedding", &[50, 64]),
        ("attnpool.k_proj.weight", &[64, 64]),
        ("attnpool.k_proj.bias", &[64]),
        ("attnpool.q_proj.weight", &[64, 64]),
        ("attnpool.q_proj.bias", &[64]),
        ("attnpool.v_proj.weight", &[64, 64]),
        ("attnpool.v_proj.bias", &[64]),
        ("attnpool.c_proj.weight", &[32, 64]),
        ("attnpool.c_proj.bias", &[32]),
    ];
    assert_eq!(found, expected);
    let values = parameters.initial_values(1);
    let most = |name: &str| values[name].iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    let close = |name: &str, bound: f64| {
        let most = f64::from(most(name));
        assert!(most <= bound && most > 0.99 * bound, "{name}: {most} of {bound}");
    };
    // Glorot: √(6/(64 + 192)); the default rule: 1/√64.
    close("attn.in_proj_weight", 0.153_093_108_923_948_6);
    close("attn.out_proj.weight", 0.125);
    assert_eq!((most("attn.in_proj_bias"), most("attn.out_proj.bias")), (0.0, 0.0));
    for name in ["attnpool.positional_embedding", "attnpool.q_proj.weight", "attnpool.c_proj.weight"] {
        let square: f64 = values[name].iter().map(|&v| f64::from(v).powi(2)).sum();
        let std = (square / values[name].len() as f64).sqrt();
        assert!((std / 0.125 - 1.0).abs() < 0.06, "{name}: {std}");
    }
}

#[test]
fn a_reshaped_value_is_a_view_unless_it_is_asked_to_lie_somewhere() {
    let shape = Shape::new(2, 6, 3, 5);
    let values: Vec<f32> = (0..shape.elements()).map(|i| i as f32).collect();
    let mut graph = Graph::new();
    let x = graph.input("x", Form::Tensor(shape));
    let y = graph.apply1(Reshape::tokens(shape), &[x]).unwrap();
    let z = graph.apply1(Gelu::Quick, &[y]).unwrap();
    assert_eq!(graph.shape(y).unwrap(), Shape::new(2, 6, 1, 15));
    let mut recording = Recording::new(gpu().facts());
    let x_buffer = gpu().buffer_with("x", &shape.pack(&values)).unwrap();
    let input = recording.persistent(&x_buffer);
    let z_buffer = gpu().buffer("z", graph.form(z).bytes()).unwrap();
    let memory = Memory::default().with_input("x", input).with_value(z, recording.persistent(&z_buffer));
    let operands = graph.record(&mut recording, &memory).unwrap();
    assert_eq!(operands[&y].slice.buffer, input.buffer, "a view");

    let mut recording = Recording::new(gpu().facts());
    let input = recording.persistent(&x_buffer);
    let y_buffer = gpu().buffer("y", graph.form(y).bytes()).unwrap();
    let memory = Memory::default().with_input("x", input).with_value(y, recording.persistent(&y_buffer));
    graph.record(&mut recording, &memory).unwrap();
    Program::build(gpu(), &recording).unwrap().run(gpu()).unwrap();
    let packed: Vec<f32> = gpu().read(&y_buffer, 0, shape.texels() * 4).unwrap();
    assert_eq!(graph.form(y).unpack(&packed), values, "a copy, pixel after pixel");
}

#[test]
fn operands_that_do_not_fit_are_named() {
    use contraleak::graph::Operation;
    use contraleak::graph::ops::{AddPosition, Attention, LayerNorm, PrependToken, TakeChannels};
    let tokens = Form::Tensor(Shape::new(2, 24, 1, 5));
    let vector = |channels| Form::Tensor(Shape::matrix(1, channels));
    let fails = |operation: &dyn Operation, inputs: &[Form], text: &str| {
        let message = operation.forms(inputs).unwrap_err().to_string();
        assert!(message.contains(text), "{message}");
    };
    fails(&LayerNorm, &[tokens, vector(24), vector(20)], "one weight and one bias a channel");
    fails(&Attention { heads: 5 }, &[tokens; 3], "cannot be cut into 5 heads");
    fails(&Attention { heads: 2 }, &[tokens], "expected an activation");
    fails(&TakeChannels { first: 2, count: 4 }, &[tokens], "channels 2..6 of [2, 24, 1, 5]");
    fails(&TakeChannels { first: 20, count: 8 }, &[tokens], "channels 20..28");
    fails(&TakeTokens { first: 5, count: 1 }, &[tokens], "tokens 5..6 of [2, 24, 1, 5]");
    fails(&PrependToken, &[tokens, vector(20)], "a token [D] or [N, D]");
    fails(&AddPosition, &[tokens, tokens], "positions [1, D, 1, T]");
    fails(&Reshape { h: 2, w: 3 }, &[tokens], "do not make 2 x 3");
    fails(&AvgPool2d { kernel: 2, stride: 2 }, &[tokens], "does not fit images of 1 x 5");
}
