package experiment

import (
	"math/rand/v2"
	"testing"
)

func TestHadamardRowsAreOrthogonal(t *testing.T) {
	for _, order := range orders {
		h := hadamard(order)
		for i := range h {
			for j := range h {
				sum := 0
				for c := range h[i] {
					sum += int(h[i][c]) * int(h[j][c])
				}
				if want := map[bool]int{true: order}[i == j]; sum != want {
					t.Errorf("order %d: rows %d and %d have the product %d, want %d", order, i, j, sum, want)
				}
			}
		}
	}
}

// TestFoldRows holds that a block that fills its design has orthogonal columns, and that any number of rows and factors is served.
func TestFoldRows(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct{ n, k int }{{12, 11}, {24, 16}, {48, 32}, {6, 16}, {60, 3}, {100, 48}, {1, 1}} {
		rows, err := foldRows(tt.n, tt.k, rnd)
		if err != nil || len(rows) != tt.n || len(rows[0]) != tt.k {
			t.Fatalf("foldRows(%d, %d) = %d rows, %v", tt.n, tt.k, len(rows), err)
		}
		if tt.n != orderFor(tt.n) || tt.n < tt.k {
			continue
		}
		for a := range tt.k {
			for b := range a {
				sum := 0
				for _, r := range rows {
					sum += int(r[a]) * int(r[b])
				}
				if sum != 0 {
					t.Errorf("foldRows(%d, %d): columns %d and %d have the product %d, want 0", tt.n, tt.k, a, b, sum)
				}
			}
		}
	}
	if _, err := foldRows(10, MaxFactors+1, rnd); err == nil {
		t.Errorf("foldRows takes %d factors", MaxFactors+1)
	}
}
