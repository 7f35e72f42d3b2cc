package fanout_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"forge.example/account/isukit/app/fanout"
)

func TestValidateNamesEveryFault(t *testing.T) {
	tests := []struct {
		name string
		cfg  fanout.Config
		want []string // each is in the error; none means that it is valid
	}{
		{"nothing", fanout.Config{}, []string{"no replicas"}},
		{"one replica", fanout.Config{Replicas: []fanout.Replica{{Name: "a", DSN: "u@tcp(h)/d"}}}, nil},
		{"two replicas", fanout.Config{Replicas: []fanout.Replica{{Name: "a", DSN: "u@tcp(h)/d"}, {Name: "b", DSN: "u@tcp(i)/d"}}}, nil},
		{"many faults", fanout.Config{
			Mode: "both", Reads: "nearest", MaxOpenConns: -1, DialTimeout: -time.Second, TxAttempts: -1,
			Replicas: []fanout.Replica{{Name: "a", DSN: "u:geheim@tcp(h)/"}, {Name: "A", DSN: "::"}, {Name: "1"}},
		}, []string{`mode "both" does not exist`, `read policy "nearest"`, "MaxOpenConns -1", "DialTimeout -1s", "TxAttempts -1",
			"names no database", `name "A" is taken`, `name "1" is not a letter`, "neither DSN nor MySQL"}},
		{"single takes one", fanout.Config{Mode: fanout.ModeSingle, Replicas: []fanout.Replica{{Name: "a", DSN: "u@tcp(h)/d"}, {Name: "b", DSN: "u@tcp(i)/d"}}},
			[]string{`mode "single" takes one replica, not 2`}},
	}
	for _, tt := range tests {
		err := tt.cfg.Validate()
		if (err == nil) != (len(tt.want) == 0) {
			t.Errorf("%s: Validate gives %v", tt.name, err)
			continue
		}
		for _, part := range tt.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%s: Validate gives\n%v\nwithout %q", tt.name, err, part)
			}
		}
		if err != nil && strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: the password is in the error", tt.name)
		}
	}
}

func ExampleConfig_Validate() {
	fmt.Println(fanout.Config{Mode: "both"}.Validate())
	// Output:
	// config: mode "both" does not exist; there are ["single" "ordered" "durable" "keyed" "parallel" "replicated"]
	// config: no replicas; name at least one database
}

func ExampleOpen() {
	ctx := context.Background()
	pool, err := fanout.Open(ctx, fanout.Config{Replicas: []fanout.Replica{
		{Name: "a", DSN: "app:secret@tcp(10.0.0.1:3306)/shop"},
		{Name: "b", DSN: "app:secret@tcp(10.0.0.2:3306)/shop"},
	}})
	if err != nil {
		return
	}
	defer pool.Close()
	_, err = pool.DB().ExecContext(ctx, "UPDATE item SET price = ? WHERE id = ?", 100, 7)
	if fanout.FateOf(err) == fanout.Unknown {
		fmt.Println("read the row to know")
	}
}

func TestOnlyParallelWarns(t *testing.T) {
	for _, m := range []fanout.Mode{fanout.ModeSingle, fanout.ModeOrdered, fanout.ModeDurable, fanout.ModeKeyed, fanout.ModeReplicated} {
		if w := m.Warning(); w != "" {
			t.Errorf("mode %s warns: %s", m, w)
		}
	}
	if w := fanout.ModeParallel.Warning(); !strings.Contains(w, "corrupts data") {
		t.Errorf("mode parallel says %q at start, want that it corrupts data", w)
	}
}
