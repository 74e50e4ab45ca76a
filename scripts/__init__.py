"""What contributors run besides the product."""
