"""The models are as the migrations leave them: nothing here asks for one."""
