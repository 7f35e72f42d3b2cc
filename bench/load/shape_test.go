package load_test

import (
	"context"
	"testing"
	"time"

	"isukit/bench/load"
)

func TestUserShapes(t *testing.T) {
	ramp := load.UserRamp{From: 10, To: 110, Over: 10 * time.Second}
	steps := load.UserSteps{{Users: 5, For: 2 * time.Second}, {Users: 20, For: 3 * time.Second}, {Users: 30, For: time.Second}}
	tests := []struct {
		name  string
		shape load.Shape
		at    time.Duration
		want  int
	}{
		{"ramp, at first", ramp, 0, 10},
		{"ramp, half way", ramp, 5 * time.Second, 60},
		{"ramp, at its end", ramp, 10 * time.Second, 110},
		{"ramp, long after", ramp, time.Hour, 110},
		{"ramp at once", load.UserRamp{From: 1, To: 7}, 0, 7},
		{"steps, at first", steps, 0, 5},
		{"steps, a hair before the second", steps, 1999 * time.Millisecond, 20},
		{"steps, in the second", steps, 3 * time.Second, 20},
		{"steps, in the last", steps, 5 * time.Second, 30},
		{"steps, long after", steps, time.Hour, 30},
		{"no steps", load.UserSteps{}, time.Second, 0},
	}
	for _, tt := range tests {
		if got, again, _ := tt.shape.Next(load.State{Elapsed: tt.at}); got != tt.want || again <= 0 {
			t.Errorf("%s: %d users, again in %v, want %d", tt.name, got, again, tt.want)
		}
	}
}

func TestUserStepsInALoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
	defer cancel()
	rec := load.NewRecorder(load.RecorderOptions{})
	idle := func(int) load.User { return func(ctx context.Context) { <-ctx.Done() } }
	var users []int
	report := load.Run(ctx, load.UserSteps{{3, time.Second}, {8, time.Second}, {9, 0}}, idle, rec, func(tick load.Tick) {
		users = append(users, tick.Users)
	})
	if report.Started != 9 || len(users) != 2 {
		t.Errorf("%d users were started in %d ticks of %v, want 9 in 2", report.Started, len(users), users)
	}
}
