package scenario

import (
	"slices"
	"testing"
)

func steps(seed uint64, user, n int) []string {
	p := newPlan(everyone, seed, user, 20)
	out := make([]string, n)
	for i := range out {
		out[i] = p.next().String()
	}
	return out
}

func TestPlansFollowSeedAndUserAlone(t *testing.T) {
	for user := range 64 {
		got, want := steps(7, user, 200), steps(7, user, 200)
		if !slices.Equal(got, want) {
			t.Errorf("user %d: two plans of one seed differ", user)
		}
		if everyone.kindOf(user) == kindContestant && slices.Equal(got, steps(8, user, 200)) {
			t.Errorf("user %d: plans of two seeds are the same", user)
		}
	}
}

func TestContentsAreUnique(t *testing.T) {
	seen := map[string]int{}
	for user := range 200 {
		p := newPlan(everyone, 1, user, 20)
		for range 300 {
			s := p.next()
			if s.Text == "" {
				continue
			}
			if other, ok := seen[s.Text]; ok {
				t.Fatalf("users %d and %d both plan %q", other, user, s.Text)
			}
			seen[s.Text] = user
		}
	}
}

func TestOrdinalCountsUsersOfAKind(t *testing.T) {
	count := map[kind]int{}
	for user := range 3 * len(everyone) {
		k := everyone.kindOf(user)
		if got := everyone.ordinal(user); got != count[k] {
			t.Errorf("ordinal(%d) = %d, want %d (%v)", user, got, count[k], k)
		}
		count[k]++
	}
}

func TestSeatsAreTakenOnce(t *testing.T) {
	const seats = 10
	taken := map[int]int{}
	for user := range 100 {
		if everyone.kindOf(user) != kindContestant {
			continue
		}
		seat, ok := everyone.seatOf(user, seats)
		if !ok {
			continue
		}
		if other, twice := taken[seat]; twice {
			t.Errorf("users %d and %d both take seat %d", other, user, seat)
		}
		taken[seat] = user
	}
	if len(taken) != seats {
		t.Errorf("%d of %d seats are taken", len(taken), seats)
	}
}
