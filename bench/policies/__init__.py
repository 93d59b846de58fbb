"""What ``enforcement`` measures: scenarios, the stage they run on, the policies, and the judge who knows the truth."""
