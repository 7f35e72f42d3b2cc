package host

import "testing"

func TestReadNoise(t *testing.T) {
	n, err := ReadNoise()
	if err != nil {
		t.Fatal(err)
	}
	if n.LoadAverage < 0 || n.SwapInBytes < 0 || n.SwapOutBytes < 0 || n.Throttled < 0 || n.FrequencyMHz < 0 || n.FrequencyMHz > 20_000 {
		t.Errorf("ReadNoise() = %+v: no machine is so", n)
	}
}

func TestParseLoadAverage(t *testing.T) {
	if got, err := parseLoadAverage("1.25 0.50 0.10 2/300 4711\n"); err != nil || got != 1.25 {
		t.Errorf("got %v, %v, want 1.25", got, err)
	}
	if _, err := parseLoadAverage("?"); err == nil {
		t.Error("no error for a file that is none")
	}
}
