"""What runs when and where: plan, ledger, units, executors."""
