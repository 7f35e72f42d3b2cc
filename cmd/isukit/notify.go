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
	var dir, webhook, link string
	cmd := &cobra.Command{
		Use:   "notify [ROUND]",
		Short: "Post a round's summary to a webhook",
		Long: `Post a round's summary to a webhook: verdict, score, difference to the best round, bottleneck, largest routes and queries, and with --link
a link to its page. Slack (hooks.slack.com, or a path below /services/) and Discord (discord.com, or a path below /api/webhooks/) get
their own formats; others get {"text": ..., "content": ...}, which Mattermost accepts. The URL is a secret. isukit reads it from the
environment variable that notify.webhook_env of the project names, or from ISUKIT_WEBHOOK.`,
		Example: "  isukit notify\n  ISUKIT_WEBHOOK=http://127.0.0.1:9000/hook isukit notify last-1",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runNotify(cmd.Context(), dir, roundArgument(args), webhook, link, isQuiet(cmd), s)
		},
	}
	resultsFlag(cmd.Flags(), &dir)
	cmd.Flags().StringVar(&webhook, "webhook", "", "URL of the webhook; process lists show it, so prefer the environment")
	cmd.Flags().StringVar(&link, "link", "", "URL of isukit serve, for a link to the round, for example http://10.0.0.1:8090")
	return cmd
}

func runNotify(ctx context.Context, dir, query, webhook, link string, quiet bool, s streams) error {
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
	if err := round.PostSummary(ctx, webhook, dir, link, r); err != nil || quiet {
		return err
	}
	_, err = fmt.Fprintf(s.err, "isukit: posted the summary of %s\n", r.ID)
	return err
}
