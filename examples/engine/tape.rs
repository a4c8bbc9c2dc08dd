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

#[derive(Clone)]
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

/// Forward.
impl<'a, D: Device> Tape<'a, D> {
    pub fn new(device: &'a mut D) -> Self {
        Self { device, nodes: Vec::new() }
    }

    /// A matrix that is there already, such as a parameter.
    pub fn given(&mut self, slice: &D::Slice, shape: [usize; 2], needs_grad: bool) -> Var {
        let var = self.push(slice.clone(), shape, &[], Origin::Given);
        self.nodes[var.0].needs_grad = needs_grad;
        var
    }

    /// Where a value lies.
    pub fn slice(&self, var: Var) -> D::Slice {
        self.nodes[var.0].slice.clone()
    }

    pub fn add(&mut self, a: Var, b: Var) -> Result<Var> {
        let [rows, columns] = self.shape(a);
        let out = self.sum(&self.slice(a), &self.slice(b), rows * columns)?;
        Ok(self.push(out, [rows, columns], &[a, b], Origin::Add(a, b)))
    }

    /// Causal attention over sequences of `context` rows, in so many heads. A row of `qkv` is query, key and value.
    pub fn attend(&mut self, qkv: Var, context: usize, heads: usize) -> Result<Var> {
        let [rows, columns] = self.shape(qkv);
        let (sequences, width) = (rows / context, columns / 3);
        let (shape, threads) = ([sequences, context, heads, width / heads], sequences * heads * context);
        let weights = self.device.allocate(threads * context)?;
        let out = self.run(Kernel::Attend, &[&self.slice(qkv), &weights], rows * width, shape, threads)?;
        Ok(self.push(out, [rows, width], &[qkv], Origin::Attend { qkv, weights, shape }))
    }

    /// The rows of the table that the ids name.
    pub fn embed(&mut self, ids: &D::Slice, rows: usize, table: Var) -> Result<Var> {
        let [entries, width] = self.shape(table);
        let (shape, len) = ([rows, width, entries, 0], rows * width);
        let out = self.run(Kernel::Embed, &[ids, &self.slice(table)], len, shape, len)?;
        Ok(self.push(out, [rows, width], &[table], Origin::Embed { ids: ids.clone(), table }))
    }

    pub fn matmul(&mut self, a: Var, b: Var) -> Result<Var> {
        let ([rows, inner], [_, columns]) = (self.shape(a), self.shape(b));
        let out = self.product(&self.slice(a), &self.slice(b), [rows, columns, inner, PLAIN])?;
        Ok(self.push(out, [rows, columns], &[a, b], Origin::Matmul(a, b)))
    }

    /// Each row over its root mean square, times the gain.
    pub fn norm(&mut self, x: Var, gain: Var) -> Result<Var> {
        let [rows, columns] = self.shape(x);
        let scale = self.device.allocate(rows)?;
        let inputs = [&self.slice(x), &self.slice(gain), &scale];
        let out = self.run(Kernel::Norm, &inputs, rows * columns, [rows, columns, 0, 0], rows)?;
        Ok(self.push(out, [rows, columns], &[x, gain], Origin::Norm { x, gain, scale }))
    }

    pub fn square_relu(&mut self, x: Var) -> Result<Var> {
        let [rows, columns] = self.shape(x);
        let len = rows * columns;
        let out = self.run(Kernel::SquareRelu, &[&self.slice(x)], len, [len, 0, 0, 0], len)?;
        Ok(self.push(out, [rows, columns], &[x], Origin::SquareRelu(x)))
    }

    /// Adds the loss of each row of `logits` to `losses`, and gives the gradient of their mean: what `backward` begins with.
    pub fn cross_entropy(&mut self, logits: Var, targets: &D::Slice, losses: &D::Slice) -> Result<D::Slice> {
        let [rows, columns] = self.shape(logits);
        let tensors = [&self.slice(logits), targets, losses];
        self.run(Kernel::CrossEntropy, &tensors, rows * columns, [rows, columns, 0, 0], rows)
    }
}

/// Backward.
impl<D: Device> Tape<'_, D> {
    /// The gradients of what is wanted, where they are needed, from the gradient of `of`.
    pub fn backward(mut self, of: Var, grad: D::Slice, wanted: &[Var]) -> Result<Vec<Option<D::Slice>>> {
        let mut grads: Vec<Option<D::Slice>> = vec![None; self.nodes.len()];
        grads[of.0] = Some(grad);
        for number in (0..=of.0).rev() {
            let Some(dout) = grads[number].clone() else { continue };
            for (var, grad) in self.grads_of_inputs(Var(number), &dout)? {
                let [rows, columns] = self.shape(var);
                grads[var.0] = Some(match grads[var.0].take() {
                    None => grad,
                    // The value was used more than once.
                    Some(other) => self.sum(&other, &grad, rows * columns)?,
                });
            }
        }
        Ok(wanted.iter().map(|var| grads[var.0].take()).collect())
    }

    /// The gradients of what this value was made of, from its own.
    fn grads_of_inputs(&mut self, var: Var, dout: &D::Slice) -> Result<Vec<(Var, D::Slice)>> {
        let [rows, columns] = self.shape(var);
        let (shape, len) = ([rows, columns, 0, 0], rows * columns);
        let mut grads = Vec::new();
        match self.nodes[var.0].origin.clone() {
            Origin::Given => {}
            Origin::Add(a, b) => {
                let terms = [a, b].into_iter().filter(|&term| self.needs_grad(term));
                grads.extend(terms.map(|term| (term, dout.clone())));
            }
            Origin::Attend { qkv, weights, shape } if self.needs_grad(qkv) => {
                let [sequences, context, heads, _] = shape;
                let (input, threads) = (self.slice(qkv), sequences * heads * context);
                let inputs = [&input, &weights, dout];
                let dscores = self.run(Kernel::AttendScores, &inputs, threads * context, shape, threads)?;
                let inputs = [&input, &weights, &dscores, dout];
                grads.push((qkv, self.run(Kernel::AttendBackward, &inputs, 3 * len, shape, len)?));
            }
            Origin::Embed { ids, table } if self.needs_grad(table) => {
                let [entries, width] = self.shape(table);
                let (shape, len) = ([rows, width, entries, 0], entries * width);
                grads.push((table, self.run(Kernel::EmbedBackward, &[&ids, dout], len, shape, len)?));
            }
            Origin::Matmul(a, b) => {
                let inner = self.shape(a)[1];
                if self.needs_grad(a) {
                    grads.push((a, self.product(dout, &self.slice(b), [rows, inner, columns, B_TRANSPOSED])?));
                }
                if self.needs_grad(b) {
                    grads.push((b, self.product(&self.slice(a), dout, [inner, columns, rows, A_TRANSPOSED])?));
                }
            }
            Origin::Norm { x, gain, scale } => {
                let (input, gains) = (self.slice(x), self.slice(gain));
                if self.needs_grad(x) {
                    grads.push((x, self.run(Kernel::NormBackward, &[&input, &gains, &scale, dout], len, shape, rows)?));
                }
                if self.needs_grad(gain) {
                    grads.push((gain, self.run(Kernel::NormGain, &[&input, &scale, dout], columns, shape, columns)?));
                }
            }
            Origin::SquareRelu(x) if self.needs_grad(x) => {
                let inputs = [&self.slice(x), dout];
                grads.push((x, self.run(Kernel::SquareReluBackward, &inputs, len, [len, 0, 0, 0], len)?));
            }
            Origin::Attend { .. } | Origin::Embed { .. } | Origin::SquareRelu(_) => {}
        }
        Ok(grads)
    }
}

/// What both directions need.
impl<D: Device> Tape<'_, D> {
    fn shape(&self, var: Var) -> [usize; 2] {
        [self.nodes[var.0].rows, self.nodes[var.0].columns]
    }

    fn needs_grad(&self, var: Var) -> bool {
        self.nodes[var.0].needs_grad
    }

    fn push(&mut self, slice: D::Slice, [rows, columns]: [usize; 2], of: &[Var], origin: Origin<D::Slice>) -> Var {
        let needs_grad = of.iter().any(|&var| self.needs_grad(var));
        self.nodes.push(Node { slice, rows, columns, needs_grad, origin });
        Var(self.nodes.len() - 1)
    }

    /// Runs a kernel whose last output has so many elements, and gives it.
    fn run(
        &mut self,
        kernel: Kernel,
        others: &[&D::Slice],
        len: usize,
        shape: [usize; 4],
        threads: usize,
    ) -> Result<D::Slice> {
        let out = self.device.allocate(len)?;
        let tensors: Vec<_> = others.iter().copied().chain([&out]).collect();
        self.device.run(kernel, &tensors, shape, threads)?;
        Ok(out)
    }

    fn sum(&mut self, a: &D::Slice, b: &D::Slice, len: usize) -> Result<D::Slice> {
        self.run(Kernel::Add, &[a, b], len, [len, 0, 0, 0], len)
    }

    fn product(&mut self, a: &D::Slice, b: &D::Slice, shape: [usize; 4]) -> Result<D::Slice> {
        let [rows, columns, ..] = shape;
        // A thread for each tile of 4 by 4 elements.
        self.run(Kernel::Matmul, &[a, b], rows * columns, shape, rows.div_ceil(4) * columns.div_ceil(4))
    }
}
