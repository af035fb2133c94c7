//! Convolution, linear and batch-norm layers, and the context that they are traced in.

use crate::graph::ops::{
    BatchNormEval, BatchNormTrain, BiasActivation, Conv2d, DepthwiseConv2d, Dropout,
    LayerNorm as LayerNormOperation,
};
use crate::graph::{Form, Graph, Init, ParameterId, ParameterSet, Role, Value};
use crate::kernels::Shape;
use crate::kernels::conv::WeightShape;
use crate::kernels::conv::depthwise::DepthwiseShape;
use crate::kernels::elementwise::Unary;
use crate::{Error, Result};

/// Whether batch norm uses the batch's statistics (and updates the running ones) or the running ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Train,
    Eval,
}

/// Where a model is traced: the graph, the parameters that it refers to, the mode.
pub struct Tracer<'a> {
    pub graph: &'a mut Graph,
    pub parameters: &'a ParameterSet,
    pub mode: Mode,
    /// Where dropout masks come from: the step's state and one u32 a sample. Needed in training only.
    pub draws: Option<Draws>,
    /// Parts of the batch that batch norm in training treats apart (MoCo's SplitBatchNorm); 1 for plain batch norm.
    pub batch_norm_splits: usize,
}

/// Values that dropout reads.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    pub step: Value,
    pub samples: Value,
}

impl<'a> Tracer<'a> {
    /// Without dropout's draws, and with plain batch norm.
    pub fn new(graph: &'a mut Graph, parameters: &'a ParameterSet, mode: Mode) -> Tracer<'a> {
        Tracer { graph, parameters, mode, draws: None, batch_norm_splits: 1 }
    }

    /// The value of a parameter in this graph.
    pub fn parameter(&mut self, id: ParameterId) -> Value {
        self.graph.parameter(id, self.parameters.get(id))
    }

    /// Dropout in training; nothing in evaluation. `layer` numbers the layers of a network.
    pub fn dropout(&mut self, x: Value, layer: u16, probability: f32) -> Result<Value> {
        match (self.mode, self.draws) {
            (Mode::Eval, _) => Ok(x),
            (Mode::Train, Some(draws)) => {
                self.graph.apply1(Dropout { layer, probability }, &[x, draws.step, draws.samples])
            }
            (Mode::Train, None) => {
                Err(Error::shape("dropout: training needs the step's state and sample numbers"))
            }
        }
    }
}

/// Registers parameters under a prefix, e.g. `layer1.0.`.
pub struct Names<'a> {
    parameters: &'a mut ParameterSet,
    prefix: String,
}

impl<'a> Names<'a> {
    pub fn new(parameters: &'a mut ParameterSet) -> Names<'a> {
        Names { parameters, prefix: String::new() }
    }

    /// The same set, one level deeper.
    pub fn inside(&mut self, name: impl std::fmt::Display) -> Names<'_> {
        Names { prefix: format!("{}{name}.", self.prefix), parameters: self.parameters }
    }

    /// A single value of each channel.
    pub(super) fn vector(&mut self, name: &str, channels: usize, init: Init, role: Role) -> ParameterId {
        self.add(name, Form::Tensor(Shape::matrix(1, channels)), vec![channels], init, role)
    }

    /// Weights `[O, I]` of a linear layer.
    fn matrix(&mut self, name: &str, i: usize, o: usize, init: Init) -> ParameterId {
        let form = Form::Weight(WeightShape { o, i, kernel: 1 });
        self.add(name, form, vec![o, i], init, Role::Trained)
    }

    fn add_transposed(
        &mut self,
        name: &str,
        form: Form,
        dimensions: [usize; 2],
        init: Init,
        role: Role,
    ) -> ParameterId {
        self.parameters.add_transposed(format!("{}{name}", self.prefix), form, dimensions, init, role)
    }

    /// Positions `[T, D]` of tokens `[N, D, 1, T]`.
    pub(super) fn positions(
        &mut self,
        name: &str,
        tokens: usize,
        channels: usize,
        init: Init,
    ) -> ParameterId {
        let form = Form::Tensor(Shape::new(1, channels, 1, tokens));
        self.add_transposed(name, form, [tokens, channels], init, Role::Trained)
    }

    fn add(&mut self, name: &str, form: Form, dimensions: Vec<usize>, init: Init, role: Role) -> ParameterId {
        self.parameters.add(format!("{}{name}", self.prefix), form, dimensions, init, role)
    }
}

/// N(0, 2/fan_out), fan_out = O·k² (He et al., ICCV 2015), with groups left out of account as torchvision does.
pub fn kaiming(o: usize, kernel: usize) -> Init {
    Init::Normal((2.0 / (o * kernel * kernel) as f64).sqrt())
}

/// Dense convolution, without bias unless [`Conv::with_bias`] adds one.
#[derive(Clone, Copy, Debug)]
pub struct Conv {
    weight: ParameterId,
    bias: Option<ParameterId>,
    operation: Conv2d,
}

impl Conv {
    pub fn new(
        names: &mut Names,
        i: usize,
        o: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        init: Init,
    ) -> Conv {
        let weight = names.add(
            "weight",
            Form::Weight(WeightShape { o, i, kernel }),
            vec![o, i, kernel, kernel],
            init,
            Role::Trained,
        );
        Conv { weight, bias: None, operation: Conv2d { stride, padding } }
    }

    /// The same with a bias for each of its `o` output channels.
    #[must_use]
    pub fn with_bias(self, names: &mut Names, o: usize, init: Init) -> Conv {
        Conv { bias: Some(names.vector("bias", o, init, Role::Trained)), ..self }
    }

    /// `[N, I, H, W]` to `[N, O, H', W']`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let weight = tracer.parameter(self.weight);
        let y = tracer.graph.apply1(self.operation, &[x, weight])?;
        match self.bias {
            Some(bias) => {
                let bias = tracer.parameter(bias);
                tracer.graph.apply1(BiasActivation(None), &[y, bias])
            }
            None => Ok(y),
        }
    }
}

/// Depthwise convolution without bias: a kernel a channel.
#[derive(Clone, Copy, Debug)]
pub struct DepthwiseConv {
    weight: ParameterId,
    operation: DepthwiseConv2d,
}

impl DepthwiseConv {
    pub fn new(
        names: &mut Names,
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
        init: Init,
    ) -> DepthwiseConv {
        let form = Form::Depthwise(DepthwiseShape { channels, kernel });
        let weight = names.add("weight", form, vec![channels, 1, kernel, kernel], init, Role::Trained);
        DepthwiseConv { weight, operation: DepthwiseConv2d { stride, padding } }
    }

    /// `[N, C, H, W]` to `[N, C, H', W']`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let weight = tracer.parameter(self.weight);
        tracer.graph.apply1(self.operation, &[x, weight])
    }
}

/// Initial weights and biases of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LinearInit {
    /// Both U(−1/√I, 1/√I).
    Default,
    /// Glorot uniform weights, zero bias: U(−√(6/(I+O)), √(6/(I+O))).
    Glorot,
    /// Both U(−bound, bound).
    Bound(f64),
    /// N(0, std²) weights, zero bias.
    Normal(f64),
    /// N(0, 1/I) weights, that is standard deviation 1/√I, zero bias.
    FanIn,
    /// Each as it says.
    Parts { weight: Init, bias: Init },
}

/// `y = f(x Wᵀ + b)`.
#[derive(Clone, Copy, Debug)]
pub struct Linear {
    weight: ParameterId,
    bias: Option<ParameterId>,
    activation: Option<Unary>,
}

impl Linear {
    pub fn new(
        names: &mut Names,
        i: usize,
        o: usize,
        bias: bool,
        activation: Option<Unary>,
        init: LinearInit,
    ) -> Linear {
        let bound = 1.0 / (i as f64).sqrt();
        let (weight_init, bias_init) = match init {
            LinearInit::Default => (Init::Uniform(bound), Init::Uniform(bound)),
            LinearInit::Bound(bound) => (Init::Uniform(bound), Init::Uniform(bound)),
            LinearInit::Glorot => (Init::Uniform((6.0 / (i + o) as f64).sqrt()), Init::Zeros),
            LinearInit::Normal(std) => (Init::Normal(std), Init::Zeros),
            LinearInit::FanIn => (Init::Normal(bound), Init::Zeros),
            LinearInit::Parts { weight, bias } => (weight, bias),
        };
        let weight = names.matrix("weight", i, o, weight_init);
        let bias = bias.then(|| names.vector("bias", o, bias_init, Role::Trained));
        Linear { weight, bias, activation }
    }

    /// `y = x W + b` whose weight and bias have names of their own: `[O, I]` and `[O]` in files.
    pub fn named(
        names: &mut Names,
        [weight, bias]: [&str; 2],
        i: usize,
        o: usize,
        [weight_init, bias_init]: [Init; 2],
    ) -> Linear {
        let weight = names.matrix(weight, i, o, weight_init);
        let bias = Some(names.vector(bias, o, bias_init, Role::Trained));
        Linear { weight, bias, activation: None }
    }

    /// `y = x P` without bias, with P `[I, O]` in files under the name `name`: CLIP's `proj`.
    pub fn projection(names: &mut Names, name: &str, i: usize, o: usize, init: Init) -> Linear {
        let form = Form::Weight(WeightShape { o, i, kernel: 1 });
        let weight = names.add_transposed(name, form, [i, o], init, Role::Trained);
        Linear { weight, bias: None, activation: None }
    }

    /// The weight matrix, e.g. for a penalty on weights alone.
    pub fn weight(&self) -> ParameterId {
        self.weight
    }

    /// `[N, I]` to `[N, O]`, or tokens `[N, I, 1, T]` to `[N, O, 1, T]`.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let weight = tracer.parameter(self.weight);
        let y = tracer.graph.apply1(Conv2d { stride: 1, padding: 0 }, &[x, weight])?;
        match self.bias {
            Some(bias) => {
                let bias = tracer.parameter(bias);
                tracer.graph.apply1(BiasActivation(self.activation), &[y, bias])
            }
            None if self.activation.is_none() => Ok(y),
            None => Err(Error::shape("linear: an activation needs a bias here")),
        }
    }
}

/// Batch norm over N, H, W with learned scale and shift; ε = 1e-5, momentum 0.1.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm {
    weight: ParameterId,
    bias: ParameterId,
    running_mean: ParameterId,
    running_var: ParameterId,
}

impl BatchNorm {
    pub fn new(names: &mut Names, channels: usize) -> BatchNorm {
        BatchNorm::scaled(names, channels, Init::Ones)
    }

    /// With a scale that begins otherwise than as ones.
    pub fn scaled(names: &mut Names, channels: usize, scale: Init) -> BatchNorm {
        BatchNorm {
            weight: names.vector("weight", channels, scale, Role::Trained),
            bias: names.vector("bias", channels, Init::Zeros, Role::Trained),
            running_mean: names.vector("running_mean", channels, Init::Zeros, Role::State),
            running_var: names.vector("running_var", channels, Init::Ones, Role::State),
        }
    }

    /// `f(bn(x) + residual)` with f the activation, if any.
    pub fn forward(
        &self,
        tracer: &mut Tracer,
        x: Value,
        residual: Option<Value>,
        activation: Option<Unary>,
    ) -> Result<Value> {
        let mut inputs = vec![
            x,
            tracer.parameter(self.weight),
            tracer.parameter(self.bias),
            tracer.parameter(self.running_mean),
            tracer.parameter(self.running_var),
        ];
        inputs.extend(residual);
        match tracer.mode {
            Mode::Train => {
                let splits = tracer.batch_norm_splits;
                tracer.graph.apply1(BatchNormTrain { activation, splits }, &inputs)
            }
            Mode::Eval => tracer.graph.apply1(BatchNormEval { activation }, &inputs),
        }
    }
}

/// Layer norm over the channels of each pixel with learned scale and shift; ε = 1e-5.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    weight: ParameterId,
    bias: ParameterId,
}

impl LayerNorm {
    pub fn new(names: &mut Names, channels: usize) -> LayerNorm {
        LayerNorm {
            weight: names.vector("weight", channels, Init::Ones, Role::Trained),
            bias: names.vector("bias", channels, Init::Zeros, Role::Trained),
        }
    }

    /// `[N, C, H, W]` to the same shape.
    pub fn forward(&self, tracer: &mut Tracer, x: Value) -> Result<Value> {
        let (weight, bias) = (tracer.parameter(self.weight), tracer.parameter(self.bias));
        tracer.graph.apply1(LayerNormOperation, &[x, weight, bias])
    }
}
