package round

import "time"

// linesPerSecond is how many lines of a benchmark are shown of each second. What it prints is kept whole with the round; a result that is
// printed as a document of many lines would bury everything else.
const linesPerSecond = 10

// lineLimit counts the lines of a second.
type lineLimit struct {
	now         func() time.Time
	begun       time.Time
	shown, left int
}

// take is asked for each line: whether to show it, and how many before it were not shown.
func (b *lineLimit) take() (show bool, missed int) {
	if now := b.now(); now.Sub(b.begun) >= time.Second {
		missed = b.rest()
		b.begun, b.shown = now, 0
	}
	if b.shown == linesPerSecond {
		b.left++
		return false, 0
	}
	b.shown++
	return true, missed
}

// rest is how many were not shown since it was last said.
func (b *lineLimit) rest() int {
	n := b.left
	b.left = 0
	return n
}
