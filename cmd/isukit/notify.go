package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"isukit/bench/report"
	"isukit/bench/result"
	"isukit/cmd/internal/ui"
	"isukit/infra/redact"
)

func newNotifyCmd(s streams) *cobra.Command {
	var dir, webhook string
	cmd := &cobra.Command{
		Use:   "notify [ROUND]",
		Short: "Post a round's summary to a webhook",
		Long: `Post a round's summary to a webhook as JSON, {"text": ..., "content": ...}, which Slack, Mattermost and Discord take. The
address is a secret: it comes from the environment, by the project's notify.webhook_env, else from ISUKIT_WEBHOOK.`,
		Example: "  isukit notify\n  ISUKIT_WEBHOOK=http://127.0.0.1:9000/hook isukit notify last-1",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNotify(cmd.Context(), dir, roundArgument(args), webhook, isQuiet(cmd), s)
		},
	}
	resultsFlag(cmd.Flags(), &dir)
	cmd.Flags().StringVar(&webhook, "webhook", "", "the address; better given in the environment, where no process list shows it")
	return cmd
}

func runNotify(ctx context.Context, dir, query, webhook string, quiet bool, s streams) error {
	if webhook == "" {
		if p, _, err := findProject(""); err == nil && p != nil && p.Notify.WebhookEnv != "" {
			webhook = os.Getenv(p.Notify.WebhookEnv)
		}
	}
	if webhook == "" {
		return ui.UsageError(errors.New("no webhook"), "set ISUKIT_WEBHOOK, or notify.webhook_env in isukit.yaml")
	}
	r, _, err := findRound(dir, query)
	if err != nil {
		return err
	}
	if err := postSummary(ctx, webhook, r); err != nil || quiet {
		return err
	}
	_, err = fmt.Fprintf(s.err, "isukit: posted the summary of %s\n", r.ID)
	return err
}

// postSummary posts a round's summary. Its error does not tell the address, which is a secret.
func postSummary(ctx context.Context, webhook string, r *result.Round) error {
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
