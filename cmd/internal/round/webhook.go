package round

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/redact"
)

// PostSummary posts a round's summary with its distance from the best round of dir and, if link is the address of isukit serve, a link to
// its page. The webhook's address is a secret: errors do not contain it.
func PostSummary(ctx context.Context, webhook, dir, link string, r *result.Round) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	entries, _ := result.List(dir) // a first round is not compared
	text := redact.Text(report.Since(r, entries) + report.Summary(r, 3))
	if link != "" {
		text += strings.TrimRight(link, "/") + "/rounds/" + r.ID + "/report.html\n"
	}
	body, err := json.Marshal(webhookBody(webhook, text))
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, webhook, bytes.NewReader(body))
	if err != nil {
		return ui.UsageError(errors.New("the webhook's URL is not valid"), "use a URL such as https://HOST/PATH")
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("post the summary: %w", err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("post the summary: status %s: %q", resp.Status, answer)
	}
	return nil
}

const maxDiscord = 2000

// webhookBody is a message as the service of that address takes it. Nothing in a text calls people or becomes a link of its own.
func webhookBody(webhook, text string) map[string]any {
	slack := strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
	discord := cutText(text, maxDiscord-4)
	u, err := url.Parse(webhook)
	if err != nil {
		u = &url.URL{}
	}
	switch host := u.Hostname(); {
	case host == "discord.com" || host == "discordapp.com" || strings.HasPrefix(u.Path, "/api/webhooks/"):
		return map[string]any{"content": discord, "allowed_mentions": map[string]any{"parse": []string{}}, "flags": 4} // 4: no previews
	case host == "hooks.slack.com" || strings.HasPrefix(u.Path, "/services/"):
		return map[string]any{"text": slack, "unfurl_links": false, "unfurl_media": false}
	}
	return map[string]any{"text": text, "content": discord}
}
