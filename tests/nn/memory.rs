//! Recurrent layers and graph attention under PyTorch's names, against its numbers.

use std::collections::BTreeSet;

use gustfront::nn::{Builder, ConvLstmCell, GatConv, GatSizes, Gru, GruCell, Parameters};
use gustfront::tensor::cases::Array;
use gustfront::tensor::{Cpu, Device, Graph, Result, Tensor};

use crate::fixtures::{Fixtures, pytorch};

/// What f32 results are compared with stored ones to.
const TOLERANCE: (f64, f64) = (1e-5, 1e-6);

fn assert_close(what: &str, found: &Tensor, wanted: &Array) {
    assert_eq!(found.shape().sizes(), &wanted.shape[..], "{what}");
    for (found, wanted) in found.to_vec().expect("values").into_iter().zip(&wanted.values) {
        let error = (f64::from(found) - wanted).abs();
        assert!(error <= TOLERANCE.0 * wanted.abs() + TOLERANCE.1, "{what}: {found}, expected {wanted}");
    }
}

/// Sets every parameter to the stored one of its name.
fn load(parameters: &Parameters, fixtures: &Fixtures, device: &Device, prefix: &str) {
    for (name, entry) in parameters.iter() {
        entry.parameter.set(fixtures.tensor(device, &format!("{prefix}{name}"))).expect("a parameter");
    }
}

fn check_gradients(parameters: &Parameters, fixtures: &Fixtures, prefix: &str) {
    for (name, parameter) in parameters.trained() {
        let key = format!("{prefix}{name}");
        assert_close(&key, &parameter.gradient().expect("a gradient"), fixtures.array(&key));
    }
}

/// PyTorch's numbers; `None`, with the reason printed, where they are not on this machine or are of other cases.
fn pytorch_with(name: &str) -> Option<Fixtures> {
    let (fixtures, _) = pytorch()?;
    if fixtures.find(name).is_none() {
        println!("skipped: the stored results have no {name}");
        return None;
    }
    Some(fixtures)
}

/// Σ y · dy.
fn dot(y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    y.mul(dy)?.sum(&[], false)
}

#[test]
fn two_layers_of_a_gru_equal_pytorchs() -> Result<()> {
    let Some(fixtures) = pytorch_with("in.gru2.x") else { return Ok(()) };
    let device = Cpu::device();
    let builder = Builder::new(&device, 1);
    let gru = Gru::new(&builder, 10, 8, 2).expect("layers");
    let parameters = builder.parameters();
    load(&parameters, &fixtures, &device, "in.gru2.");
    let x = fixtures.tensor(&device, "in.gru2.x").with_gradient();
    let (y, h) = gru.forward(&x, None)?;
    assert_close("y", &y, fixtures.array("out.gru2.y"));
    assert_close("h", &h, fixtures.array("out.gru2.h"));
    let [dy, dh] = ["d_y", "d_h"].map(|name| fixtures.tensor(&device, &format!("in.gru2.{name}")));
    dot(&y, &dy)?.add(&dot(&h, &dh)?)?.backward()?;
    check_gradients(&parameters, &fixtures, "g.gru2.");
    assert_close("x", &x.gradient().expect("a gradient"), fixtures.array("g.gru2.x"));
    Ok(())
}

/// Steps of the cell are those of the layer, from any first state.
#[test]
fn states_and_layers_are_as_many() {
    let device = Cpu::device();
    let builder = Builder::new(&device, 1).at("part");
    let error = Gru::new(&builder, 3, 4, 0).expect_err("no layers").to_string();
    assert!(error.starts_with("part of no layers"), "{error}");
    let gru = Gru::new(&builder, 3, 4, 2).expect("layers");
    let x = Tensor::zeros(&device, [5, 6, 3]).expect("sequences");
    for layers in [1, 2, 3] {
        let first = Tensor::zeros(&device, [layers, 5, 4]).expect("states");
        let found = gru.forward(&x, Some(&first));
        assert_eq!(found.is_ok(), layers == 2, "{layers}");
        let fine = found.map_or_else(|e| e.to_string().contains("each of 2 layers"), |_| true);
        assert!(fine, "{layers}");
    }
}

#[test]
fn a_gru_cell_is_one_step_of_a_layer() -> Result<()> {
    let device = Cpu::device();
    let builder = Builder::new(&device, 2);
    let (layer, cell) = (Gru::new(&builder.at("layer"), 3, 4, 1), GruCell::new(&builder.at("cell"), 3, 4));
    let (layer, cell) = (layer.expect("a layer"), cell.expect("a cell"));
    let parameters = builder.parameters();
    let names: BTreeSet<&str> = parameters.trained().map(|(name, _)| name).filter(|n| n.starts_with("cell")).collect();
    assert_eq!(names, BTreeSet::from(["cell.bias_hh", "cell.bias_ih", "cell.weight_hh", "cell.weight_ih"]));
    for part in ["weight_ih", "weight_hh", "bias_ih", "bias_hh"] {
        let value = parameters.get(&format!("layer.{part}_l0")).expect("a parameter").get();
        parameters.get(&format!("cell.{part}")).expect("a parameter").set(value)?;
    }
    let numbers = |len: usize| (0..len).map(|i| (i as f32).sin()).collect::<Vec<_>>();
    let (x, first) = (Tensor::new(&device, [2, 2, 3], &numbers(12))?, Tensor::new(&device, [2, 4], &numbers(8))?);
    let (y, last) = layer.forward(&x, Some(&first.unsqueeze(0)?))?;
    let mut state = first;
    for step in 0..2 {
        state = cell.forward(&x.narrow(1, step, 1)?.squeeze(1)?, &state)?;
    }
    assert_eq!(state.to_vec()?, last.to_vec()?);
    assert_eq!(state.to_vec()?, y.narrow(1, 1, 1)?.to_vec()?);
    assert!(GruCell::new(&builder.at("none"), 3, 0).is_err());
    Ok(())
}

#[test]
fn a_conv_lstm_cell_equals_pytorchs_over_three_steps() -> Result<()> {
    let (fixtures, device) = (Fixtures::own("training.safetensors"), Cpu::device());
    let builder = Builder::new(&device, 3);
    let cell = ConvLstmCell::new(&builder, 3, 4, 3).expect("a cell");
    let parameters = builder.parameters();
    let names: Vec<&str> = parameters.trained().map(|(name, _)| name).collect();
    assert_eq!(names, ["conv.bias", "conv.weight"]);
    let of = |name: &str| fixtures.tensor(&device, &format!("lstm.{name}"));
    for name in ["bias", "weight"] {
        parameters.get(&format!("conv.{name}")).expect("a parameter").set(of(name))?;
    }
    let (x, mut h, mut c) = (of("x"), of("h"), of("c"));
    for step in 0..3 {
        (h, c) = cell.forward(&x.narrow(0, 2 * step, 2)?, (&h, &c))?;
    }
    assert_close("h", &h, fixtures.array("lstm.h_last"));
    assert_close("c", &c, fixtures.array("lstm.c_last"));
    dot(&h, &of("dh"))?.add(&dot(&c, &of("dc"))?)?.backward()?;
    for (name, parameter) in parameters.trained() {
        let key = name.replace("conv.", "lstm.g.");
        assert_close(&key, &parameter.gradient().expect("a gradient"), fixtures.array(&key));
    }
    assert!(ConvLstmCell::new(&builder.at("even"), 3, 4, 2).is_err());
    Ok(())
}

#[test]
fn graph_attention_equals_pytorch_geometrics() -> Result<()> {
    let Some(fixtures) = pytorch_with("in.gat_edge.x") else { return Ok(()) };
    let device = Cpu::device();
    for (case, attributes, concat) in [("gat_edge", 4, true), ("gat_noedge", 0, true), ("gat_mean", 3, false)] {
        let of = |name: &str| fixtures.tensor(&device, &format!("in.{case}.{name}"));
        let builder = Builder::new(&device, 4);
        let sizes = GatSizes { inputs: 7, heads: 4, channels: 6, attributes, concat };
        let layer = GatConv::new(&builder, sizes).expect("a layer");
        let parameters = builder.parameters();
        load(&parameters, &fixtures, &device, &format!("in.{case}."));
        let x = of("x").with_gradient();
        let given = (attributes > 0).then(|| of("edge_attr").with_gradient());
        let edges = fixtures.indices(&device, &format!("in.{case}.edge_index"));
        let (graph, looped) = Graph::new(&edges, x.shape()[0])?.with_self_loops(given.as_ref())?;
        let (y, weights) = layer.forward(&x, &graph, looped.as_ref())?;
        assert_close(case, &y, fixtures.array(&format!("out.{case}.y")));
        assert_close(case, &weights, fixtures.array(&format!("out.{case}.alpha")));
        dot(&y, &of("d_y"))?.add(&dot(&weights, &of("d_alpha"))?)?.backward()?;
        check_gradients(&parameters, &fixtures, &format!("g.{case}."));
        assert_close(case, &x.gradient().expect("a gradient"), fixtures.array(&format!("g.{case}.x")));
        let other = if attributes > 0 { None } else { Some(&x) };
        assert!(layer.forward(&x, &graph, other).is_err(), "{case}: attributes that lack, or are too many");
    }
    Ok(())
}
