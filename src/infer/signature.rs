//! Whether a loaded graph is the one that its contract describes.
//!
//! Sizes must agree or be symbolic; what is symbolic is checked by every run.

use super::contract::Strategy;
use super::layout::Layout;
use super::ports::Port;

/// What a graph takes in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    AnyRows,
    /// The batch dimension is fixed at 1.
    OneRow,
}

/// How a graph differs from its contract.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error(
        "the graph has {found} inputs without a value of their own; a model has one, the windows"
    )]
    InputCount { found: usize },
    #[error(
        "the graph has {found} outputs; the contract wants {wanted}: the means, then one per quantile"
    )]
    OutputCount { found: usize, wanted: usize },
    #[error("the graph's {port} \"{name}\" is {kind}; it must be a float32 tensor {wanted}")]
    Port {
        port: &'static str,
        name: String,
        kind: String,
        wanted: String,
    },
}

/// Compares a graph's inputs and outputs, as the runtime has loaded them or as the file declares them,
/// with the contract's shapes.
pub(super) fn check(
    inputs: &[Port],
    outputs: &[Port],
    layout: &Layout,
) -> Result<Signature, SignatureError> {
    let [input] = inputs else {
        return Err(SignatureError::InputCount {
            found: inputs.len(),
        });
    };
    let [_, window, width] = layout.input_shape(1);
    let mut signature = check_port("input", input, [window, width], || {
        format!("[n, window {window}, inputs {width} (features + 2 x calendar)]")
    })?;
    if outputs.len() != layout.outputs {
        return Err(SignatureError::OutputCount {
            found: outputs.len(),
            wanted: layout.outputs,
        });
    }
    let [_, steps, targets] = layout.output_shape(1);
    for output in outputs {
        let of_output = check_port("output", output, [steps, targets], || {
            match layout.strategy {
                Strategy::Direct => format!("[n, horizon {steps}, targets {targets}]"),
                Strategy::Recursive => format!("[n, 1, targets {targets}] (recursive strategy)"),
            }
        })?;
        if of_output == Signature::OneRow {
            signature = Signature::OneRow;
        }
    }
    Ok(signature)
}

fn check_port(
    port: &'static str,
    found: &Port,
    wanted: [usize; 2],
    shape: impl FnOnce() -> String,
) -> Result<Signature, SignatureError> {
    let agrees = |size: Option<usize>, needed| size.is_none_or(|size| size == needed);
    let rows = match found.dimensions.as_slice() {
        // Shape inference gave up on an output; runs will show.
        [] if port == "output" => Some(None),
        [rows, second, third] if agrees(*second, wanted[0]) && agrees(*third, wanted[1]) => {
            Some(*rows)
        }
        _ => None,
    };
    match rows {
        Some(None) if found.is_float32 => Ok(Signature::AnyRows),
        Some(Some(1)) if found.is_float32 => Ok(Signature::OneRow),
        _ => Err(SignatureError::Port {
            port,
            name: found.name.clone(),
            kind: found.kind.clone(),
            wanted: shape(),
        }),
    }
}
