package isukit

import "embed"

// Assets are the directories nginx, mysql and scripts as they are in the repository.
//
//go:embed nginx mysql scripts
var Assets embed.FS
