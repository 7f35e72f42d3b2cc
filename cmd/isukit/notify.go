package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"isukit/cmd/internal/round"
	"isukit/cmd/internal/ui"
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
		if p, _, err := round.FindProject(""); err == nil && p != nil && p.Notify.WebhookEnv != "" {
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
	if err := round.PostSummary(ctx, webhook, r); err != nil || quiet {
		return err
	}
	_, err = fmt.Fprintf(s.err, "isukit: posted the summary of %s\n", r.ID)
	return err
}
