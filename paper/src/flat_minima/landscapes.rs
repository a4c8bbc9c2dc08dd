//! Two losses of two parameters, with flat and with sharp minima.
//!
//! The paper shows both as contours (Figure 2) and gives no formula. For the first it cites Yang, whose released code has one.
//! The second is ours.

use std::f64::consts::TAU;

/// Two parameters (x, y), or a direction in their plane.
pub type Point = [f64; 2];

/// A loss of two parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landscape {
    /// One flat minimum between two sharp ones.
    ///
    /// ```text
    /// u = x + y²
    /// L = x² + y² + 5·sin u
    /// ∂L/∂x = 2x + 5·cos u           ∂L/∂y = 2y + 10·y·cos u
    /// ∂²L/∂x² = 2 - 5·sin u          ∂²L/∂x∂y = -10·y·sin u
    /// ∂²L/∂y² = 2 + 10·cos u - 20·y²·sin u
    /// ```
    ///
    /// It is `Function1` in the code of Xingyi Yang, *Stochastic Gradient Variance Reduction by Solving a Filtering Problem*,
    /// 2020, arXiv 2012.12418. The flat minimum is at (-1.11, 0), with the eigenvalues 6.5 and 6.4. The sharp ones are at
    /// (0.5, ±2.0), with 83 and 1.9. Beyond them there are more at every y² = 4.01 + 2πk, each sharper and higher than the last.
    Waves,

    /// Many flat and many sharp minima: a bowl with a lattice of Gaussian wells, wide and narrow by turns.
    ///
    /// ```text
    /// L = B/2·(x² + y²) - Σ_c exp(-|θ - c|²/(2·w_c²))              B = 0.04
    /// c = (2i, 2j), i, j = -2..2;  w_c = 0.6 where i + j is even, else 0.2
    ///
    /// with e_c = exp(-|θ - c|²/(2·w_c²)),  d = θ - c:
    /// ∇L = B·θ + Σ_c e_c/w_c²·d
    /// ∇²L = B·1 + Σ_c e_c/w_c²·(1 - d·dᵀ/w_c²)
    /// ```
    ///
    /// All wells are about equally deep below the bowl, so that little but their width tells them apart. The 13 wide ones have eigenvalues
    /// of about 2.8, the 12 narrow ones of about 25.
    Wells,
}

/// How fast the bowl under the wells rises: B.
pub const BOWL: f64 = 0.04;
/// The distance between neighbouring wells.
pub const SPACING: f64 = 2.0;
/// The wells are at -`REACH`..=`REACH` times the spacing.
pub const REACH: i32 = 2;
/// w of the wide wells and of the narrow ones.
pub const WIDTHS: [f64; 2] = [0.6, 0.2];
/// A well is left out where its e_c is below exp of minus this, which is less than the rounding of what remains.
const FAR: f64 = 50.0;

/// A symmetric matrix: ∂²L/∂x², ∂²L/∂x∂y, ∂²L/∂y².
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hessian {
    pub xx: f64,
    pub xy: f64,
    pub yy: f64,
}

impl Hessian {
    /// The eigenvalues, the smaller one first.
    pub fn eigenvalues(&self) -> [f64; 2] {
        let middle = f64::midpoint(self.xx, self.yy);
        let radius = ((self.xx - self.yy) / 2.0).hypot(self.xy);
        [middle - radius, middle + radius]
    }

    /// The unit eigenvector of the smaller eigenvalue.
    pub fn lowest_direction(&self) -> Point {
        // Half the angle of the larger eigenvalue's vector, turned by a right angle.
        let angle = f64::midpoint(0.0, (2.0 * self.xy).atan2(self.xx - self.yy));
        [-angle.sin(), angle.cos()]
    }

    /// The sum of the absolute eigenvalues, the paper's measure of sharpness.
    pub fn sharpness(&self) -> f64 {
        self.eigenvalues().iter().map(|value| value.abs()).sum()
    }

    pub fn determinant(&self) -> f64 {
        self.xx * self.yy - self.xy * self.xy
    }

    /// The second derivative along a unit vector.
    pub fn along(&self, [x, y]: Point) -> f64 {
        self.xx * x * x + 2.0 * self.xy * x * y + self.yy * y * y
    }
}

impl Landscape {
    pub const ALL: [Self; 2] = [Self::Waves, Self::Wells];

    /// Its name in tables and file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waves => "waves",
            Self::Wells => "wells",
        }
    }

    /// Starts lie in the square from minus this to this.
    pub fn half_width(self) -> f64 {
        match self {
            Self::Waves => 3.0,
            Self::Wells => 5.0,
        }
    }

    /// A minimum is flat if its [`sharpness`](Hessian::sharpness) is below this. On both landscapes there is none within a
    /// factor of two of it.
    pub fn flat_below(self) -> f64 {
        match self {
            Self::Waves => 30.0,
            Self::Wells => 20.0,
        }
    }

    pub fn value(self, [x, y]: Point) -> f64 {
        match self {
            Self::Waves => x * x + y * y + 5.0 * (x + y * y).sin(),
            Self::Wells => {
                let wells: f64 = wells([x, y]).map(|well| well.e).sum();
                BOWL / 2.0 * (x * x + y * y) - wells
            }
        }
    }

    pub fn gradient(self, [x, y]: Point) -> Point {
        match self {
            Self::Waves => {
                let cos = (x + y * y).cos();
                [2.0 * x + 5.0 * cos, 2.0 * y + 10.0 * y * cos]
            }
            Self::Wells => wells([x, y]).fold([BOWL * x, BOWL * y], |[gx, gy], well| {
                let pull = well.e * well.sharpness;
                [gx + pull * well.d[0], gy + pull * well.d[1]]
            }),
        }
    }

    pub fn hessian(self, [x, y]: Point) -> Hessian {
        match self {
            Self::Waves => {
                let (sin, cos) = (x + y * y).sin_cos();
                let yy = 2.0 + 10.0 * cos - 20.0 * y * y * sin;
                Hessian { xx: 2.0 - 5.0 * sin, xy: -10.0 * y * sin, yy }
            }
            Self::Wells => wells([x, y]).fold(Hessian { xx: BOWL, xy: 0.0, yy: BOWL }, |sum, well| {
                let (pull, [dx, dy]) = (well.e * well.sharpness, well.d);
                Hessian {
                    xx: sum.xx + pull * (1.0 - dx * dx * well.sharpness),
                    xy: sum.xy - pull * dx * dy * well.sharpness,
                    yy: sum.yy + pull * (1.0 - dy * dy * well.sharpness),
                }
            }),
        }
    }
}

struct Well {
    e: f64,
    d: Point,
    /// 1/w².
    sharpness: f64,
}

/// The wells that matter at a point.
fn wells([x, y]: Point) -> impl Iterator<Item = Well> {
    let lattice = (-REACH..=REACH).flat_map(|i| (-REACH..=REACH).map(move |j| (i, j)));
    lattice.filter_map(move |(i, j)| {
        let d = [x - SPACING * f64::from(i), y - SPACING * f64::from(j)];
        let width = WIDTHS[usize::from((i + j) % 2 != 0)];
        let sharpness = 1.0 / (width * width);
        let exponent = (d[0] * d[0] + d[1] * d[1]) * sharpness / 2.0;
        (exponent < FAR).then(|| Well { e: (-exponent).exp(), d, sharpness })
    })
}

/// The sharp minimum of [`Landscape::Waves`], the saddle on its way to the flat one, and the flat minimum itself: what
/// Theorem 1 calls a, u and b.
///
/// With y ≠ 0 both derivatives are 0 where cos u = -1/5 and x = 1/2. The flat minimum has y = 0 and 2x + 5·cos x = 0.
pub fn way_out() -> [Point; 3] {
    let phase = (-0.2_f64).acos();
    let sharp = [0.5, (TAU - phase - 0.5).sqrt()];
    let saddle = [0.5, (phase - 0.5).sqrt()];
    // Newton's method for 2x + 5·cos x, from nearby.
    let flat = (0..20).fold(-1.1_f64, |x, _| x - (2.0 * x + 5.0 * x.cos()) / (2.0 - 5.0 * x.sin()));
    [sharp, saddle, [flat, 0.0]]
}
