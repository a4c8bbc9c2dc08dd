//! Automatic differentiation. Each operation runs its kernel and goes onto the tape; `backward` reads the tape from its end and runs
//! the kernels of the gradients. A value that nobody needs the gradient of, such as a frozen parameter, costs nothing there.

use crate::device::{Device, Kernel, Result};

/// A value on the tape, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Var(usize);

pub struct Tape<'a, D: Device> {
    device: &'a mut D,
    nodes: Vec<Node<D::Slice>>,
}

/// A matrix of `rows` by `columns`, and where it came from.
struct Node<S> {
    slice: S,
    rows: usize,
    columns: usize,
    needs_grad: bool,
    origin: Origin<S>,
}

enum Origin<S> {
    Given,
    Add(Var, Var),
    Attend { qkv: Var, weights: S, shape: [usize; 4] },
    Embed { ids: S, table: Var },
    Matmul(Var, Var),
    Norm { x: Var, gain: Var, scale: S },
    SquareRelu(Var),
}

/// How matmul.wgsl finds its factors in memory.
const PLAIN: usize = 0;
const A_TRANSPOSED: usize = 1;
const B_TRANSPOSED: usize = 2;

impl<'a, D: Device> Tape<'a, D> {
    pub fn new(device: &'a mut D) -> Self {
        Self { device, nodes: Vec::new() }
    }

    /// A matrix that is there already, such as a parameter.
    pub fn given(&mut self, slice: &D::Slice, [rows, columns]: [usize; 2], needs_grad: bool) -> Var {
        self.nodes.push(Node { slice: slice.clone(), rows, columns, needs_grad, origin: Origin::Given });
        Var(self.nodes.len() - 1)
    }

    /// Where a value lies.
    pub fn slice(&self, var: Var) -> &D::Slice {
        &self.nodes[var.0].slice
    }

    pub fn add(&mut self, a: Var, b: Var) -> Result<Var> {
        let [rows, columns] = self.shape(a);
        let out = self.add_slices(self.slice(a).clone(), &self.slice(b).clone(), rows * columns)?;
        Ok(self.push(out, [rows, columns], &[a, b], Origin::Add(a, b)))
    }

    /// Causal attention over sequences of `context` rows, in so many heads. A row of `qkv` is query, key and value.
    pub fn attend(&mut self, qkv: Var, context: usize, heads: usize) -> Result<Var> {
        let [rows, columns] = self.shape(qkv);
        let (sequences, width) = (rows / context, columns / 3);
        let (shape, threads) = ([sequences, context, heads, width / heads], sequences * heads * context);
        let weights = self.device.allocate(threads * context)?;
        let out = self.device.allocate(rows * width)?;
        self.device.run(Kernel::Attend, &[&self.nodes[qkv.0].slice, &weights, &out], shape, threads)?;
        Ok(self.push(out, [rows, width], &[qkv], Origin::Attend { qkv, weights, shape }))
    }

    /// The rows of the table that the ids name.
    pub fn embed(&mut self, ids: &D::Slice, rows: usize, table: Var) -> Result<Var> {
        let [entries, width] = self.shape(table);
        let out = self.device.allocate(rows * width)?;
        let tensors = [ids, &self.nodes[table.0].slice, &out];
        self.device.run(Kernel::Embed, &tensors, [rows, width, entries, 0], rows * width)?;
        Ok(self.push(out, [rows, width], &[table], Origin::Embed { ids: ids.clone(), table }))
    }

    pub fn matmul(&mut self, a: Var, b: Var) -> Result<Var> {
        let ([rows, inner], [_, columns]) = (self.shape(a), self.shape(b));
        let out = self.product(&self.slice(a).clone(), &self.slice(b).clone(), [rows, columns, inner, PLAIN])?;
        Ok(self.push(out, [rows, columns], &[a, b], Origin::Matmul(a, b)))
    }

    /// Each row over its root mean square, times the gain.
    pub fn norm(&mut self, x: Var, gain: Var) -> Result<Var> {
        let [rows, columns] = self.shape(x);
        let (out, scale) = (self.device.allocate(rows * columns)?, self.device.allocate(rows)?);
        let tensors = [&self.nodes[x.0].slice, &self.nodes[gain.0].slice, &out, &scale];
        self.device.run(Kernel::Norm, &tensors, [rows, columns, 0, 0], rows)?;
        Ok(self.push(out, [rows, columns], &[x, gain], Origin::Norm { x, gain, scale }))
    }

    pub fn square_relu(&mut self, x: Var) -> Result<Var> {
        let [rows, columns] = self.shape(x);
        let (len, out) = (rows * columns, self.device.allocate(rows * columns)?);
        self.device.run(Kernel::SquareRelu, &[&self.nodes[x.0].slice, &out], [len, 0, 0, 0], len)?;
        Ok(self.push(out, [rows, columns], &[x], Origin::SquareRelu(x)))
    }

    /// Adds the loss of each row of `logits` to `losses`, and gives the gradient of their mean: what `backward` begins with.
    pub fn cross_entropy(&mut self, logits: Var, targets: &D::Slice, losses: &D::Slice) -> Result<D::Slice> {
        let [rows, columns] = self.shape(logits);
        let grad = self.device.allocate(rows * columns)?;
        let tensors = [&self.nodes[logits.0].slice, targets, losses, &grad];
        self.device.run(Kernel::CrossEntropy, &tensors, [rows, columns, 0, 0], rows)?;
        Ok(grad)
    }

    /// The gradients of these values, where they are needed, by the gradient of `of`.
    pub fn backward(mut self, of: Var, grad: D::Slice, wanted: &[Var]) -> Result<Vec<Option<D::Slice>>> {
        let mut grads: Vec<Option<D::Slice>> = vec![None; self.nodes.len()];
        grads[of.0] = Some(grad);
        for number in (0..=of.0).rev() {
            let Some(dout) = grads[number].clone() else { continue };
            for (var, grad) in self.gradients(Var(number), &dout)? {
                let [rows, columns] = self.shape(var);
                grads[var.0] = Some(match grads[var.0].take() {
                    None => grad,
                    // It was used more than once.
                    Some(other) => self.add_slices(other, &grad, rows * columns)?,
                });
            }
        }
        Ok(wanted.iter().map(|var| grads[var.0].take()).collect())
    }

    /// The gradients of what this value was made of, by its own.
    fn gradients(&mut self, var: Var, dout: &D::Slice) -> Result<Vec<(Var, D::Slice)>> {
        let [rows, columns] = self.shape(var);
        let mut found = Vec::new();
        let needs = |tape: &Self, var: Var| tape.nodes[var.0].needs_grad;
        let slice = |tape: &Self, var: Var| tape.nodes[var.0].slice.clone();
        match &self.nodes[var.0].origin {
            Origin::Given => {}
            &Origin::Add(a, b) => {
                found.extend([a, b].into_iter().filter(|&term| needs(self, term)).map(|term| (term, dout.clone())));
            }
            Origin::Attend { qkv, weights, shape } => {
                let (qkv, weights, shape) = (*qkv, weights.clone(), *shape);
                if needs(self, qkv) {
                    let (x, rows_of_scores) = (slice(self, qkv), shape[0] * shape[1] * shape[2]);
                    let dscores = self.device.allocate(rows_of_scores * shape[1])?;
                    let tensors = [&x, &weights, dout, &dscores];
                    self.device.run(Kernel::AttendScores, &tensors, shape, rows_of_scores)?;
                    let dqkv = self.device.allocate(3 * rows * columns)?;
                    let tensors = [&x, &weights, &dscores, dout, &dqkv];
                    self.device.run(Kernel::AttendBackward, &tensors, shape, rows * columns)?;
                    found.push((qkv, dqkv));
                }
            }
            Origin::Embed { ids, table } => {
                let (ids, table) = (ids.clone(), *table);
                if needs(self, table) {
                    let [entries, width] = self.shape(table);
                    let dtable = self.device.allocate(entries * width)?;
                    let shape = [rows, width, entries, 0];
                    self.device.run(Kernel::EmbedBackward, &[&ids, dout, &dtable], shape, entries * width)?;
                    found.push((table, dtable));
                }
            }
            &Origin::Matmul(a, b) => {
                let inner = self.shape(a)[1];
                let (left, right) = (slice(self, a), slice(self, b));
                if needs(self, a) {
                    found.push((a, self.product(dout, &right, [rows, inner, columns, B_TRANSPOSED])?));
                }
                if needs(self, b) {
                    found.push((b, self.product(&left, dout, [inner, columns, rows, A_TRANSPOSED])?));
                }
            }
            Origin::Norm { x, gain, scale } => {
                let (x, gain, scale) = (*x, *gain, scale.clone());
                let (input, gains) = (slice(self, x), slice(self, gain));
                if needs(self, x) {
                    let dx = self.device.allocate(rows * columns)?;
                    let tensors = [&input, &gains, &scale, dout, &dx];
                    self.device.run(Kernel::NormBackward, &tensors, [rows, columns, 0, 0], rows)?;
                    found.push((x, dx));
                }
                if needs(self, gain) {
                    let dgain = self.device.allocate(columns)?;
                    let tensors = [&input, &scale, dout, &dgain];
                    self.device.run(Kernel::NormGain, &tensors, [rows, columns, 0, 0], columns)?;
                    found.push((gain, dgain));
                }
            }
            &Origin::SquareRelu(x) => {
                if needs(self, x) {
                    let (input, len, dx) = (slice(self, x), rows * columns, self.device.allocate(rows * columns)?);
                    self.device.run(Kernel::SquareReluBackward, &[&input, dout, &dx], [len, 0, 0, 0], len)?;
                    found.push((x, dx));
                }
            }
        }
        Ok(found)
    }

    fn shape(&self, var: Var) -> [usize; 2] {
        [self.nodes[var.0].rows, self.nodes[var.0].columns]
    }

    fn push(&mut self, slice: D::Slice, [rows, columns]: [usize; 2], of: &[Var], origin: Origin<D::Slice>) -> Var {
        let needs_grad = of.iter().any(|var| self.nodes[var.0].needs_grad);
        self.nodes.push(Node { slice, rows, columns, needs_grad, origin });
        Var(self.nodes.len() - 1)
    }

    fn add_slices(&mut self, a: D::Slice, b: &D::Slice, len: usize) -> Result<D::Slice> {
        let out = self.device.allocate(len)?;
        self.device.run(Kernel::Add, &[&a, b, &out], [len, 0, 0, 0], len)?;
        Ok(out)
    }

    fn product(&mut self, a: &D::Slice, b: &D::Slice, shape: [usize; 4]) -> Result<D::Slice> {
        let [rows, columns, ..] = shape;
        let out = self.device.allocate(rows * columns)?;
        self.device.run(Kernel::Matmul, &[a, b, &out], shape, rows.div_ceil(4) * columns.div_ceil(4))?;
        Ok(out)
    }
}
