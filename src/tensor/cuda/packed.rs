//! Launches of `kernels/packed.cu`.
//!
//! What a field is packed in is sent as it is. Whether groups add up is worked out on the device, and told by one word
//! that is read back; where they do not, and for packings without kernels, the host unpacks the field and knows why.

use bytemuck::{Pod, Zeroable};

use crate::formats::grib2::{GroupLayout, Message, Numbers, PackedField, PointOrder};
use crate::tensor::ops::packed::Unpack;
use crate::tensor::{Buffer, DType, Memory, Result};

use super::Cuda;
use super::launch::{Launch, THREADS};
use super::reuse::{Block, Pool};

/// Values of a thread, and points of an octet of a bitmap.
const EACH: usize = 8;
/// Values of a block.
const TILE: usize = THREADS as usize * EACH;
/// Groups of a block.
const GROUP_TILE: usize = THREADS as usize * 4;
/// Bytes behind the packed ones that are touched: a number's last word is at most three from its first.
const BEHIND: usize = 16;
/// Fields of as many values or more are left to the host.
const MOST_VALUES: usize = 1 << 31;
/// Bytes of what the kernels keep of a tile: sums of groups, sums of differences, and two differences.
const SPAN_BYTES: usize = 16;
const STEPS_BYTES: usize = 24;
const FIRSTS_BYTES: usize = 16;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Order {
    columns: u64,
    rows: u64,
    plain: i32,
    columns_first: i32,
    alternating: i32,
    backwards: i32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SimpleSizes {
    count: u64,
    offset: f64,
    factor: f64,
    bits: u32,
    padding: i32,
    order: Order,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct GroupSizes {
    count: u64,
    groups: u64,
    available: u64,
    begins: [u64; 4],
    length_reference: u64,
    length_increment: u64,
    last_length: u64,
    first: [i64; 2],
    minimum: i64,
    offset: f64,
    factor: f64,
    bits: [u32; 3],
    width_reference: u32,
    missing: i32,
    differences: i32,
    order: Order,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct SpreadSizes {
    points: u64,
    order: Order,
}

impl Unpack for Cuda {
    fn unpack(&self, field: &Message, bytes: &[u8]) -> Result<Buffer> {
        let packed = field.packed_field(bytes)?.filter(|_| field.points < MOST_VALUES);
        let unpacked = packed.map_or(Ok(None), |packed| self.field(&packed, field.points))?;
        unpacked.map_or_else(|| self.upload(&field.decode(bytes)?), Ok)
    }
}

impl Cuda {
    /// The field's values in their places; `None` where its groups do not add up.
    fn field(&self, field: &PackedField<'_>, points: usize) -> Result<Option<Buffer>> {
        // With a bitmap values are put into their places as they are spread.
        let order = if field.bitmap.is_some() { Order::plain() } else { Order::of(field.order) };
        let values = match field.numbers {
            Numbers::Constant(value) => self.fill(field.count, value, DType::F32).map(Some),
            Numbers::Simple { bits, line } => self.simple(field, bits, line, order).map(Some),
            Numbers::Groups(layout) => self.groups(field, &layout, order),
        }?;
        match (values, field.bitmap) {
            (Some(Buffer::Cuda(values)), Some(bitmap)) => self.spread(&values, bitmap, points, field.order).map(Some),
            (values, _) => Ok(values),
        }
    }

    fn simple(&self, field: &PackedField<'_>, bits: u32, (offset, factor): (f64, f64), order: Order) -> Result<Buffer> {
        let (words, y) = (self.sent_with_room(field.data)?, self.take(field.count, DType::F32)?);
        let sizes = SimpleSizes { count: field.count as u64, offset, factor, bits, padding: 0, order };
        let launch = self.kernel_named("packed", "unpack_simple").grid(field.count.div_ceil(TILE), 1, 1);
        launch.output(&words).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    fn groups(&self, field: &PackedField<'_>, layout: &GroupLayout, order: Order) -> Result<Option<Buffer>> {
        let (words, sizes) = (self.sent_with_room(field.data)?, GroupSizes::new(field, layout, order));
        let groups = self.find_groups(words, sizes)?;
        let tiles = field.count.div_ceil(TILE);
        let (sums, firsts) = (self.bytes(tiles * STEPS_BYTES)?, self.bytes((tiles + 1) * FIRSTS_BYTES)?);
        if layout.order > 0 {
            let launch = groups.given(self.kernel_named("packed", "difference_sums").grid(tiles, 1, 1));
            launch.output(&sums).output(&firsts).value(sizes).run()?;
            let launch = self.kernel_named("packed", "scan_differences").output(&sums).output(&firsts);
            launch.output(&groups.status).value(tiles as u64).run()?;
        }
        let y = self.take(field.count, DType::F32)?;
        let launch = groups.given(self.kernel_named("packed", "unpack_groups").grid(tiles, 1, 1));
        launch.output(&sums).output(&firsts).output(&y).value(sizes).run()?;
        let mut status = [u32::MAX];
        self.read(groups.status.address(), bytemuck::cast_slice_mut(&mut status))?;
        Ok((status == [0]).then_some(Buffer::Cuda(y)))
    }

    /// Where the values and bits of each group begin.
    fn find_groups(&self, words: Block, sizes: GroupSizes) -> Result<Groups> {
        let groups = sizes.groups as usize;
        let tiles = groups.div_ceil(GROUP_TILE);
        let (sums, status) = (self.bytes(tiles * SPAN_BYTES)?, self.bytes(size_of::<u32>())?);
        let (starts, bits) = (self.bytes((groups + 1) * size_of::<u32>())?, self.bytes(groups * size_of::<u64>())?);
        let launch = self.kernel_named("packed", "group_sums").grid(tiles, 1, 1);
        launch.output(&words).output(&sums).value(sizes).run()?;
        let launch = self.kernel_named("packed", "scan_groups").output(&sums).output(&status);
        launch.value(tiles as u64).value(sizes).run()?;
        let launch = self.kernel_named("packed", "group_starts").grid(tiles, 1, 1).output(&words).output(&sums);
        launch.output(&status).output(&starts).output(&bits).value(sizes).run()?;
        Ok(Groups { words, starts, bits, status })
    }

    /// Values to the points whose bit is one, NaN elsewhere.
    fn spread(&self, values: &Block, bitmap: &[u8], points: usize, order: PointOrder) -> Result<Buffer> {
        let tiles = points.div_ceil(TILE);
        let before = self.bytes(tiles * size_of::<u32>())?;
        self.write(before.address(), bytemuck::cast_slice(&ones_before(bitmap, tiles)))?;
        let (bitmap, y) = (self.sent_with_room(bitmap)?, self.take(points, DType::F32)?);
        let sizes = SpreadSizes { points: points as u64, order: Order::of(order) };
        let launch = self.kernel_named("packed", "spread").grid(tiles, 1, 1);
        launch.output(values).output(&bitmap).output(&before).output(&y).value(sizes).run()?;
        Ok(Buffer::Cuda(y))
    }

    /// Bytes on the device, with [`BEHIND`] more of them that hold anything.
    fn sent_with_room(&self, bytes: &[u8]) -> Result<Block> {
        let block = self.bytes(bytes.len().next_multiple_of(size_of::<u32>()) + BEHIND)?;
        self.write(block.address(), bytes).map(|()| block)
    }

    fn bytes(&self, bytes: usize) -> Result<Block> {
        Pool::take(&self.pool, bytes)
    }
}

/// Packed groups on the device, and where they begin.
struct Groups {
    words: Block,
    starts: Block,
    bits: Block,
    /// 0 where they are those of the field.
    status: Block,
}

impl Groups {
    /// The arguments that every kernel of values begins with.
    fn given<'a>(&self, launch: Launch<'a>) -> Launch<'a> {
        launch.output(&self.words).output(&self.starts).output(&self.bits).output(&self.status)
    }
}

/// How many ones a bitmap has before each tile.
fn ones_before(bitmap: &[u8], tiles: usize) -> Vec<u32> {
    let ones = |octets: &[u8]| octets.iter().map(|octet| octet.count_ones()).sum::<u32>();
    let mut sum = 0;
    let before = bitmap.chunks(TILE / EACH).map(|octets| {
        let before = sum;
        sum += ones(octets);
        before
    });
    before.take(tiles).collect()
}

impl Order {
    /// Points in their places.
    fn plain() -> Self {
        Order { columns: 0, rows: 0, plain: 1, columns_first: 0, alternating: 0, backwards: 0 }
    }

    fn of(order: PointOrder) -> Self {
        Order {
            columns: order.columns as u64,
            rows: order.rows as u64,
            plain: order.is_plain().into(),
            columns_first: order.columns_first.into(),
            alternating: order.alternating.into(),
            backwards: order.backwards.into(),
        }
    }
}

impl GroupSizes {
    fn new(field: &PackedField<'_>, layout: &GroupLayout, order: Order) -> Self {
        GroupSizes {
            count: field.count as u64,
            groups: layout.groups as u64,
            available: 8 * field.data.len() as u64,
            begins: layout.begins.map(|bit| bit as u64),
            length_reference: layout.length_reference,
            length_increment: layout.length_increment,
            last_length: layout.last_length,
            first: layout.first,
            minimum: layout.minimum,
            offset: layout.line.0,
            factor: layout.line.1,
            bits: layout.bits,
            width_reference: layout.width_reference,
            missing: layout.missing.into(),
            differences: layout.order.into(),
            order,
        }
    }
}
