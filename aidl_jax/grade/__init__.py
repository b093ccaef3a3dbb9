"""What checks one student's file or a whole class: worker, runner, judge, and their records."""
