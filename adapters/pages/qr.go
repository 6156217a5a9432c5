package pages

import (
	"fmt"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// A qrCode is drawn by a template as SVG: one path over a square of Size modules,
// the quiet zone of four around included (ISO/IEC 18004 §9.1).
type qrCode struct {
	Size int
	Path string
}

const quiet = 4

func newQR(text string) (qrCode, error) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return qrCode{}, fmt.Errorf("draw a QR code: %w", err)
	}
	size := code.Bounds().Dx()
	var path strings.Builder
	for y := range size {
		for x := range size {
			if code.At(x, y) == color.Black {
				path.WriteString(module(x+quiet, y+quiet))
			}
		}
	}
	return qrCode{size + 2*quiet, path.String()}, nil
}

// module is one dark square of the path.
func module(x, y int) string { return fmt.Sprintf("M%d %dh1v1h-1z", x, y) }
