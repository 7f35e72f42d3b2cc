package scenario

import (
	"errors"
	"testing"

	"isukit/bench/load"
)

func TestOnlyBotsMayBeTurnedAway(t *testing.T) {
	bot, person := &call{refusable: true}, &call{}
	if err := bot.judge(&load.Response{Status: 503}); !errors.Is(err, load.ErrRefused) {
		t.Errorf("a bot's 503: got %v, want that it was refused", err)
	}
	wantFault(t, bot.judge(&load.Response{Status: 500}), load.Status, "status 500 instead of 200")
	wantFault(t, person.judge(&load.Response{Status: 503}), load.Status, "status 503 instead of 200")
}
