package pages

import (
	"strings"
	"testing"
)

// What an app sees of a code first are its three finder patterns, within a quiet
// zone of four modules (ISO/IEC 18004 §6.3.3, §9.1).
func TestQR(t *testing.T) {
	t.Parallel()
	code, err := newQR("otpauth://totp/Postern:ann?secret=JBSWY3DPEHPK3PXP&issuer=Postern")
	if err != nil {
		t.Fatal(err)
	}
	dark := func(x, y int) bool { return strings.Contains(code.Path, module(x, y)) }
	const finder = "#######\n#.....#\n#.###.#\n#.###.#\n#.###.#\n#.....#\n#######"
	for _, corner := range [][2]int{{4, 4}, {code.Size - 11, 4}, {4, code.Size - 11}} {
		for y, row := range strings.Split(finder, "\n") {
			for x, want := range row {
				if dark(corner[0]+x, corner[1]+y) != (want == '#') {
					t.Errorf("the finder at %v differs at %d,%d", corner, x, y)
				}
			}
		}
	}
	for i := range code.Size {
		for edge := range quiet {
			for _, at := range [][2]int{{i, edge}, {edge, i}, {i, code.Size - 1 - edge}, {code.Size - 1 - edge, i}} {
				if dark(at[0], at[1]) {
					t.Fatalf("%v of the quiet zone is dark", at)
				}
			}
		}
	}
	if _, err := newQR(strings.Repeat("x", 3000)); err == nil {
		t.Error("it draws more than a code holds")
	}
}
