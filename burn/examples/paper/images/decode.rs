//! JPEG and PNG files as pixels.

use std::fs;
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_png::PngDecoder;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Three bytes a pixel, row by row.
pub struct Picture {
    pub width: usize,
    pub height: usize,
    pub bytes: Vec<u8>,
}

impl Picture {
    /// Reads a file. ImageNet has a PNG file under a JPEG name, so that the first bytes decide.
    ///
    /// # Errors
    /// If it cannot be read, or is neither. The message names file and remedy.
    pub fn read(file: &Path) -> Result<Self, String> {
        let name = file.display();
        let bytes = fs::read(file).map_err(|error| format!("{name}: {error}; mend the folder of --data"))?;
        let picture = if bytes.starts_with(PNG) { png(&bytes) } else { jpeg(&bytes) };
        picture.map_err(|fault| format!("{name}: {fault}; put a sound JPEG or PNG file in its place, or remove it"))
    }
}

fn jpeg(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = JpegDecoder::new(ZCursor::new(bytes));
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("it says no size")?;
    picture(info.width.into(), info.height.into(), &pixels)
}

fn png(bytes: &[u8]) -> Result<Picture, String> {
    let options = DecoderOptions::default().png_set_strip_to_8bit(true);
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode_raw().map_err(|error| format!("{error:?}"))?;
    let (width, height) = decoder.dimensions().ok_or("it says no size")?;
    picture(width, height, &pixels)
}

/// From one byte a pixel (grey), two (grey, alpha), three or four (with alpha) to three.
fn picture(width: usize, height: usize, pixels: &[u8]) -> Result<Picture, String> {
    let channels = pixels.len().checked_div(width * height).unwrap_or_default();
    if !(1..=4).contains(&channels) || pixels.len() != channels * width * height {
        return Err(format!("{width} x {height} pixels in {} bytes", pixels.len()));
    }
    let pixel = |pixel: &[u8]| match *pixel {
        [grey] | [grey, _] => [grey; 3],
        [red, green, blue, ..] => [red, green, blue],
        [] => [0; 3],
    };
    Ok(Picture { width, height, bytes: pixels.chunks_exact(channels).flat_map(pixel).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two by one pixels, red and blue: a header, a row without a filter, the end.
    const RED_BLUE: &[u8] = include_bytes!("red-blue.png");
    /// Eight by eight grey pixels of 128: tables of a code each, and a block that is 0 throughout.
    const GREY: &[u8] = include_bytes!("grey.jpg");

    #[test]
    fn both_kinds_become_three_bytes_a_pixel() {
        let png = png(RED_BLUE).unwrap();
        assert_eq!((png.width, png.height, png.bytes), (2, 1, vec![255, 0, 0, 0, 0, 255]));
        let jpeg = jpeg(GREY).unwrap();
        assert_eq!((jpeg.width, jpeg.height, jpeg.bytes), (8, 8, vec![128; 192]));
    }

    #[test]
    fn what_is_neither_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cat.JPEG");
        let refused = || Picture::read(&file).err().unwrap();
        assert!(refused().contains("cat.JPEG: ") && refused().contains("mend the folder"), "{}", refused());
        for bytes in [&GREY[..60], &RED_BLUE[..30], b"GIF89a"] {
            fs::write(&file, bytes).unwrap();
            assert!(refused().contains("cat.JPEG: ") && refused().contains("put a sound"), "{}", refused());
        }
    }
}
