package host

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Flaws are what a link of the lab does to frames, each way; zero for a link without flaws. Ratios of frames are in [0,1].
type Flaws struct {
	Delay     time.Duration `json:"delay_ns,omitempty"`  // from one end to the other
	Jitter    time.Duration `json:"jitter_ns,omitempty"` // each delay is at most this much longer or shorter; frames stay in order
	Loss      float64       `json:"loss,omitempty"`
	Duplicate float64       `json:"duplicate,omitempty"`
	Corrupt   float64       `json:"corrupt,omitempty"` // one bit is another
	Reorder   float64       `json:"reorder,omitempty"` // these are not delayed, and overtake others
	Peer      string        `json:"peer,omitempty"`    // only frames from and to this host; "" for all
	Way       string        `json:"way,omitempty"`     // only frames to ("in") or from ("out") the host whose link it is
}

// FlawKeys are the names of what Set takes.
func FlawKeys() []string {
	return []string{"delay", "jitter", "loss", "duplicate", "corrupt", "reorder", "peer", "way"}
}

func (f *Flaws) field(key string) any {
	return map[string]any{"delay": &f.Delay, "jitter": &f.Jitter, "loss": &f.Loss, "duplicate": &f.Duplicate, "corrupt": &f.Corrupt,
		"reorder": &f.Reorder, "peer": &f.Peer, "way": &f.Way}[key]
}

const maxDelay = 10 * time.Second

// Set reads one value as a person writes it: "0.5ms", "5%".
func (f *Flaws) Set(key, value string) (err error) {
	switch field := f.field(key).(type) {
	case *time.Duration:
		if *field, err = time.ParseDuration(value); err != nil || *field < 0 || *field > maxDelay {
			return fmt.Errorf("%s %q: want a time from 0s to %v, for example 0.5ms", key, value, maxDelay)
		}
	case *float64:
		digits, ok := strings.CutSuffix(value, "%")
		percent, err := strconv.ParseFloat(strings.TrimSpace(digits), 64)
		if err != nil || !ok || !(percent >= 0 && percent <= 100) {
			return fmt.Errorf("%s %q: want a percentage of the frames from 0%% to 100%%", key, value)
		}
		*field = percent / 100
	case *string:
		if *field = value; key == "way" && value != "in" && value != "out" {
			return fmt.Errorf(`way %q: want "in" (to the host) or "out" (from it)`, value)
		}
	}
	return nil
}

// Check is an error if the values do not fit together.
func (f Flaws) Check() error {
	switch {
	case f.Jitter > f.Delay:
		return fmt.Errorf("jitter %v is greater than the delay %v", f.Jitter, f.Delay)
	case f.Reorder > 0 && f.Delay == 0:
		return errors.New("reorder needs a delay: the other frames are overtaken while they are delayed")
	case f != (Flaws{}) && f == (Flaws{Peer: f.Peer, Way: f.Way}):
		return errors.New("peer and way need a delay, loss, duplicate or corrupt that they limit")
	}
	return nil
}

// String is as a topology file has it, without braces: "delay: 1ms, loss: 5%".
func (f Flaws) String() string {
	var parts []string
	for _, key := range FlawKeys() {
		var text string
		switch field := f.field(key).(type) {
		case *time.Duration:
			text = field.String()
		case *float64:
			text = strconv.FormatFloat(*field*100, 'g', 6, 64) + "%"
		case *string:
			text = *field
		}
		if text != "" && text != "0s" && text != "0%" {
			parts = append(parts, key+": "+text)
		}
	}
	return strings.Join(parts, ", ")
}
