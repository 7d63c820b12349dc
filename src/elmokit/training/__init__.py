"""What any training run needs: budget, schedule, optimizers, loop, checkpoints, log. Knows neither text nor tasks."""
