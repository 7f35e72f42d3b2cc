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
	"time"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/redact"
)

// PostSummary posts a round's summary. Its error does not tell the address, which is a secret.
func PostSummary(ctx context.Context, webhook string, r *result.Round) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	text := redact.Text(report.Summary(r))
	body, err := json.Marshal(map[string]string{"text": text, "content": text})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, webhook, bytes.NewReader(body))
	if err != nil {
		return ui.UsageError(errors.New("the webhook's address cannot be read"), "it looks like https://HOST/PATH")
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
